// The sliders say what the images can vouch for.

import { readTexts } from "/static/page.js";
import { ask } from "./started.js";

const sliders = readTexts();
const form = document.getElementById("goal");
const said = document.getElementById("said");
const fields = [...form.querySelectorAll(".slider")];

function stepOf(field) {
  return sliders[field.dataset.key][field.querySelector('[type="range"]').value];
}

function show(field) {
  const step = stepOf(field);
  field.querySelector(".value").textContent = step.text;
  field.querySelector(".promise").textContent = step.promise;
  field.querySelector(".promise").dataset.level = step.level;
  field.querySelector('[type="range"]').setAttribute("aria-valuetext", step.text);
}

for (const field of fields) {
  show(field);
  field.querySelector('[type="range"]').addEventListener("input", () => {
    field.querySelector(".asked").checked = true;
    show(field);
  });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  said.textContent = "";
  const wanted = { name: form.querySelector("#name").value, profile: form.querySelector("#profile").value };
  for (const field of fields) if (field.querySelector(".asked").checked) wanted[field.dataset.key] = stepOf(field).value;
  const limit = form.querySelector("#max-ms").value;
  if (limit) wanted.max_ms = Number(limit);
  if (!(await ask("/goal", wanted))) return;
  said.textContent = said.dataset.saved;
  said.dataset.level = "good";
  document.getElementById("next").hidden = false;
});
