// A change of the camera's file: shows the difference, saves it, waits for the result, and undoes it.

import { send } from "./page.js";

const WAIT_MS = 90_000;
const POLL_MS = 700;

async function readAnswer(answer) {
  const isJson = answer.headers.get("content-type")?.startsWith("application/json");
  return isJson ? answer.json() : { message: await answer.text() };
}

/**
 * Connects the elements of change.html.
 * address: takes {save: false, ...content} for the difference and {save: true, before, ...content} to save.
 * If the answer has what the daemon would say against the change, it is shown, and such a change cannot be saved.
 * read: gives the content. saved: is called when a change or its undoing was applied.
 */
export function connectChange(camera, address, texts, read, saved = () => {}) {
  const $ = (name) => document.getElementById(name);
  let seen = null;
  let last = $("change-undo").dataset.id;

  function say(text, level = "") {
    $("change-said").textContent = text;
    $("change-said").dataset.level = level;
  }

  function hide() {
    seen = null;
    $("change-diff").hidden = true;
  }

  async function ask(where, content) {
    try {
      const answer = await send(where, content);
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
    $("change-undo").hidden = true;
    const end = Date.now() + WAIT_MS;
    while (Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      try {
        const answer = await fetch(`/changes/${camera}/${id}`);
        if (answer.status !== 200) continue;
        const told = await answer.json();
        say(told.message, told.outcome === "applied" ? "good" : "bad");
        if (told.outcome === "applied") {
          last = id;
          $("change-undo").hidden = !told.undo;
          saved();
        }
        return;
      } catch {
        // the page restarts; asked again
      }
    }
    say(texts.late, "bad");
  }

  $("change-show").addEventListener("click", async () => {
    say("");
    hide();
    const content = read();
    const told = await ask(address, { ...content, save: false });
    if (told === null) return;
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
    $("change-lines").replaceChildren(...lines);
    seen = { ...content, before: told.before };
    $("change-save").disabled = Boolean(told.problem);
    $("change-verdict").textContent = told.problem ? `${texts["refused-now"]} ${told.problem}` : (texts.checked ?? "");
    $("change-verdict").dataset.level = told.problem ? "bad" : "good";
    $("change-diff").hidden = false;
    $(told.problem ? "change-cancel" : "change-save").focus();
  });
  $("change-cancel").addEventListener("click", () => {
    hide();
    $("change-show").focus();
  });
  $("change-save").addEventListener("click", async () => {
    if (seen === null) return;
    const content = seen;
    hide();
    const told = await ask(address, { ...content, save: true });
    if (told !== null) await follow(told.id);
  });
  $("change-undo").addEventListener("click", async () => {
    const told = await ask(`/changes/${camera}/${last}/undo`);
    if (told !== null) await follow(told.id);
  });
  return { hide };
}
