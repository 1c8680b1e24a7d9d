import "./keep.js";
import { ask, showCounted, wait } from "./started.js";

const said = document.getElementById("said");

async function follow() {
  said.textContent = said.dataset.wait;
  document.getElementById("progress").hidden = false;
  document.getElementById("start").disabled = true;
  for (;;) {
    const answer = await fetch("/audit/state").catch(() => null);
    if (answer?.ok) {
      const { running, counted } = await answer.json();
      if (!running) break;
      showCounted(counted);
    }
    await wait(700);
  }
  location.reload();
}

document.getElementById("start").addEventListener("click", async () => {
  if (await ask("/audit/start")) follow();
});
if ("running" in said.dataset) follow();
