// Models: sends a bundle in pieces, shows what would change, starts it, and follows how it ends.

import { fetchRefreshed, readTexts, send } from "./page.js";

const POLL_MS = 1000;
const WAIT_MS = 960_000; // a little longer than the device lets an installation run
const REFRESH_MS = 3000;
const HOME = "/health/models";
const $ = (name) => document.getElementById(name);
const texts = readTexts();
let confirmed = null; // what the dialog's button does
let declined = null;

function say(text, level = "", detail = "") {
  const said = $("work");
  said.dataset.level = level;
  said.replaceChildren(text);
  if (!detail) return;
  const more = document.createElement("span");
  more.lang = "en";
  more.textContent = detail;
  said.append(more);
}

/** The answer of the device as an object; null: it refused, which is told, or does not answer. */
async function read(asked) {
  try {
    const answer = await asked;
    if (answer.status === 401) return location.assign("/sign-in");
    const isJson = answer.headers.get("content-type")?.startsWith("application/json");
    const told = isJson ? await answer.json() : { message: await answer.text() };
    if (answer.ok) return told;
    say(told.message, "bad", told.detail);
  } catch {
    say(texts.offline, "bad");
  }
  return null;
}

const ask = (path, content) => read(send(`${HOME}${path}`, content));

async function sendPieces(file) {
  if (file.size > texts.most) {
    say(texts["too-large"].replace("%s", texts.most / 2 ** 20), "bad");
    return null;
  }
  const begun = await ask("/upload", { bytes: file.size });
  if (!begun) return null;
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const bar = $("progress");
  bar.hidden = false;
  let told = null;
  for (let offset = 0; offset < file.size; offset += texts.piece) {
    const body = file.slice(offset, offset + texts.piece);
    const headers = { "X-CSRF-Token": csrf, "Content-Type": "application/octet-stream" };
    told = await read(fetch(`${HOME}/upload/${begun.upload}?offset=${offset}`, { method: "POST", headers, body }));
    if (!told) break;
    bar.value = (offset + body.size) / file.size;
  }
  bar.hidden = true;
  return told?.complete ? begun.upload : null;
}

function confirm(title, action, told, act, decline = () => {}) {
  $("confirm-title").textContent = title;
  $("confirm-do").textContent = action;
  const lines = told.lines.map((line) => {
    const item = document.createElement("li");
    item.textContent = line;
    return item;
  });
  $("confirm-lines").replaceChildren(...lines);
  $("confirm-probation").hidden = !told.probation;
  [confirmed, declined] = [act, decline];
  $("confirm").showModal();
}

async function follow(work, text) {
  say(text);
  const end = Date.now() + WAIT_MS;
  while (Date.now() < end) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    try {
      const answer = await fetch(`${HOME}/work/${work}`);
      if (answer.status === 204) continue;
      const told = await answer.json();
      await refresh();
      finished = shown;
      return say(told.message, told.outcome === "done" ? "good" : "bad", told.detail);
    } catch {
      // asked again
    }
  }
  say(texts.late, "bad");
}

async function checkFile() {
  const [file] = $("file").files;
  if (!file) return say(texts.choose, "bad");
  say(texts.sending);
  const upload = await sendPieces(file);
  if (!upload) return;
  say(texts.checking);
  const told = await ask("/check", { upload });
  if (!told) return;
  say("");
  const install = async () => {
    const minutes = told.probation ? $("minutes").valueAsNumber : 10;
    const begun = await ask("/install", { upload, minutes, name: told.name, current: told.current });
    if (!begun) return;
    $("file").value = "";
    await follow(begun.work, texts.installing);
  };
  confirm(texts["install-title"], texts.install, told, install, () => ask("/discard", { upload }));
}

async function goBack(name) {
  say("");
  const told = await ask("/rollback", { name, save: false });
  if (!told) return;
  const { current, previous } = told;
  confirm(texts["back-title"], texts.back, told, async () => {
    const begun = await ask("/rollback", { name, save: true, current, previous });
    if (begun) await follow(begun.work, texts.returning);
  });
}

/** Runs something with all buttons off, so that nothing is asked for twice. */
async function once(act) {
  const buttons = [$("check"), ...document.querySelectorAll("[data-back]")].filter(Boolean);
  for (const button of buttons) button.disabled = true;
  await act();
  for (const button of [$("check"), ...document.querySelectorAll("[data-back]")]) if (button) button.disabled = false;
}

async function refresh() {
  const fresh = await fetchRefreshed();
  if (!fresh || fresh.innerHTML === shown) return;
  const focused = $("refreshed").contains(document.activeElement) ? document.activeElement.id : "";
  shown = fresh.innerHTML;
  $("refreshed").replaceChildren(...fresh.childNodes);
  if (focused) ($(focused) ?? $("content")).focus();
}

/** "Done" does not stand above a list that says otherwise: once the list has changed, it speaks. */
function forgetDone() {
  if ($("work").dataset.level === "good" && finished !== shown) say("");
}

let finished = null; // the list when the last work ended well
let shown = $("refreshed").innerHTML;

$("check")?.addEventListener("click", () => once(checkFile));
$("refreshed").addEventListener("click", (event) => {
  const { back } = event.target.dataset;
  if (back) once(() => goBack(back));
});
$("confirm-do").addEventListener("click", () => {
  if (!$("confirm-probation").hidden && !$("minutes").reportValidity()) return;
  declined = null;
  $("confirm").close();
  once(confirmed);
});
$("confirm-cancel").addEventListener("click", () => $("confirm").close());
$("confirm").addEventListener("close", () => declined?.());

setInterval(() => {
  if (!document.hidden && !$("confirm").open) refresh().then(forgetDone, () => {});
}, REFRESH_MS);
