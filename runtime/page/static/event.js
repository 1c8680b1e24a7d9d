// Verdicts on one event, by button or by one key.

import { readTexts, send } from "./page.js";

const texts = readTexts();
const panel = document.getElementById("verdicts");
const said = document.getElementById("said");
const label = document.getElementById("label");
const keys = document.getElementById("keys");
const picture = document.querySelector(".shot img");

function fitPicture() {
  if (picture.naturalHeight) picture.parentElement.style.setProperty("--aspect", picture.naturalWidth / picture.naturalHeight);
}

if (picture?.complete) fitPicture();
picture?.addEventListener("load", fitPicture);

for (const box of document.querySelectorAll("[data-shows]")) {
  box.addEventListener("change", () => {
    document.getElementById(box.dataset.shows).toggleAttribute("hidden", !box.checked);
  });
}

async function judge(verdict, name = "") {
  let message = texts.offline;
  try {
    const answer = await send(panel.dataset.address, { verdict, label: name });
    if (answer.ok) {
      for (const button of panel.querySelectorAll("button[data-verdict]")) {
        button.setAttribute("aria-pressed", String(button.dataset.verdict === verdict));
      }
      said.textContent = texts.saved;
      return;
    }
    const isJson = answer.headers.get("content-type")?.startsWith("application/json");
    message = isJson ? (await answer.json()).message : await answer.text();
  } catch {
    // the message above
  }
  said.textContent = `${texts.failed} ${message}`;
}

for (const button of panel.querySelectorAll("button[data-verdict]")) {
  button.addEventListener("click", () => judge(button.dataset.verdict));
}

document.getElementById("label-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = label.value.trim();
  if (name) judge("label", name);
  else said.textContent = texts.empty;
});

keys.checked = localStorage.getItem("keys") !== "off";
keys.addEventListener("change", () => localStorage.setItem("keys", keys.checked ? "on" : "off"));

document.addEventListener("keydown", (event) => {
  if (!keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  const actions = {
    r: () => judge("right"),
    f: () => judge("false_alarm"),
    m: () => judge("missed"),
    l: () => label.select(),
    j: () => document.getElementById("older")?.click(),
    k: () => document.getElementById("newer")?.click(),
  };
  const isLatin = /^[a-z]$/i.test(event.key); // with a Korean input method on, R is ㄱ: then the place of the key counts
  const action = actions[(isLatin ? event.key : event.code.replace("Key", "")).toLowerCase()];
  if (action) {
    event.preventDefault();
    action();
  }
});
