// The steps of a build while it runs.

import { send } from "/static/page.js";
import { showCounted, wait } from "./started.js";

const { number } = document.getElementById("build").dataset;

function showSteps(steps) {
  const list = document.getElementById("steps");
  for (const { text, seconds } of steps.slice(list.children.length)) {
    const item = document.createElement("li");
    if (seconds !== null) {
      const time = document.createElement("time");
      time.textContent = `${seconds.toFixed(0)} s`;
      item.append(time, " ");
    }
    const said = document.createElement("span");
    said.textContent = text;
    item.append(said);
    list.append(item);
  }
}

document.getElementById("cancel").addEventListener("click", async (event) => {
  event.target.disabled = true;
  await send("/builds/cancel");
});

for (;;) {
  const answer = await fetch(`/builds/${number}/state`).catch(() => null);
  if (answer?.ok) {
    const { running, steps, counted } = await answer.json();
    if (!running) break;
    showSteps(steps);
    showCounted(counted);
    document.getElementById("counted").textContent = counted ? `${counted[0]} ${counted[1]} / ${counted[2]}` : "";
  }
  await wait(700);
}
location.reload();
