// The line of the threshold: a slider over the histogram, and what the threshold would have done.

import { connectChange } from "./change.js";
import { readTexts } from "./page.js";

const DELAY_MS = 120;
const $ = (name) => document.getElementById(name);
const view = $("threshold-view");

if (view) {
  const { camera, product } = view.dataset;
  const slider = $("slider");
  let timer = 0;
  let change = null;
  let asked = 0;

  const format = (value) => String(Number(Number(value).toPrecision(6)));

  function draw() {
    const place = (1000 * (slider.value - slider.min)) / (slider.max - slider.min);
    $("line").setAttribute("x1", place);
    $("line").setAttribute("x2", place);
    $("beyond").setAttribute("x", place);
    $("beyond").setAttribute("width", 1000 - place);
    $("value").textContent = format(slider.value);
  }

  async function explain() {
    const number = ++asked;
    try {
      const answer = await fetch(`/threshold/${camera}/replay?value=${slider.value}&product=${product}`);
      if (!answer.ok || number !== asked) return;
      const told = await answer.json();
      for (const name of ["alarms", "note", "budget", "source"]) $(name).textContent = told[name];
      slider.setAttribute("aria-valuetext", `${format(slider.value)}; ${told.alarms}; ${told.budget}`);
    } catch {
      // the next movement asks again
    }
  }

  if ($("change-show")) {
    const isChanged = () => !slider.dataset.now || format(slider.value) !== format(slider.dataset.now);
    const read = () => ({ threshold: Number(format(slider.value)) });
    const saved = () => {
      slider.dataset.now = ""; // what the file has now is not known here
    };
    change = connectChange(camera, `/threshold/${camera}/change?product=${product}`, readTexts(), read, saved, isChanged);
  }
  slider.addEventListener("input", () => {
    draw();
    change?.refresh();
    clearTimeout(timer);
    timer = setTimeout(explain, DELAY_MS);
  });
  draw();
  explain();
}
