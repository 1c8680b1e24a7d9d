// A change of the camera's file: shows the difference, saves it, waits for the result, and takes it back.

import { send } from "./page.js";

const WAIT_MS = 180_000; // the device watches a camera for up to two minutes
const POLL_MS = 700;

async function readAnswer(answer) {
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  return isJson ? answer.json() : { message: await answer.text() };
}

/**
 * Connects the elements of change.html.
 * address: takes {save: false, ...content} for the difference and {save: true, before, ...content} to save.
 * read: gives the content. saved: is called when a change, or its taking back, was applied. isChanged: whether there is
 * something to save. The answer's `refresh` is called when that may have changed.
 */
export function connectChange(camera, address, texts, read, saved = () => {}, isChanged = () => true) {
  const $ = (name) => document.getElementById(`change-${name}`);
  let isBusy = false;
  let seen = null; // where to ask for the change that the dialog shows, and with what

  function refresh() {
    $("show").disabled = isBusy || !isChanged();
    $("undo").disabled = isBusy;
  }

  function say(text, level = "") {
    $("said").textContent = text;
    $("said").dataset.level = level;
  }

  async function ask(where, content) {
    try {
      const answer = await send(where, content);
      if (answer.status === 401) return location.assign("/sign-in");
      const told = await readAnswer(answer);
      if (answer.ok) return told;
      say(told.message, "bad");
    } catch {
      say(texts.offline, "bad");
    }
    return null;
  }

  async function follow(id) {
    say(texts.waiting);
    const end = Date.now() + WAIT_MS;
    while (Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      try {
        const answer = await fetch(`/changes/${camera}/${id}`);
        if (answer.status !== 200) continue;
        const told = await answer.json();
        if (told.outcome === "applied") await saved();
        $("undo").hidden = !told.undo;
        $("undo").textContent = told.undo;
        say(told.message, told.level);
        for (const text of told.commands) {
          const command = document.createElement("code");
          command.textContent = text;
          $("said").append(" ", command);
        }
        return;
      } catch {
        // the page restarts; asked again
      }
    }
    say(texts.late, "bad");
  }

  async function propose(where, content) {
    say("");
    const told = await ask(where, { ...content, save: false });
    if (!told) return;
    if (!told.diff.length) {
      say(texts.same);
      return;
    }
    const lines = told.diff.map(({ sign, text }) => {
      const line = document.createElement("span");
      line.dataset.sign = sign;
      line.textContent = sign === "@" ? "…" : `${sign} ${text}`;
      return line;
    });
    $("about").textContent = told.about;
    const changes = told.changes.map((text) => {
      const item = document.createElement("li");
      item.textContent = text;
      return item;
    });
    $("list").replaceChildren(...changes);
    $("lines").replaceChildren(...lines);
    $("verdict").textContent = told.problem ? `${texts["refused-now"]} ${told.problem}` : texts.checked;
    $("verdict").dataset.level = told.problem ? "bad" : "good";
    $("save").disabled = Boolean(told.problem);
    seen = { where, content: { ...content, before: told.before, save: true } };
    $("dialog").showModal();
  }

  async function save() {
    $("dialog").close();
    isBusy = true;
    refresh();
    const told = await ask(seen.where, seen.content);
    if (told) await follow(told.id);
    isBusy = false;
    refresh();
  }

  $("show").addEventListener("click", () => propose(address, read()));
  $("undo").addEventListener("click", () => propose(`/changes/${camera}/undo`, {}));
  $("cancel").addEventListener("click", () => $("dialog").close());
  $("save").addEventListener("click", save);
  refresh();
  return { refresh };
}
