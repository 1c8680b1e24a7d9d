// One click keeps or drops an image.

import { send } from "/static/page.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest(".keep");
  if (!button) return;
  const { name } = button.closest(".tile").dataset;
  const keep = button.getAttribute("aria-pressed") !== "true";
  const answer = await send("/keep", { name, keep });
  if (!answer.ok) return;
  for (const tile of document.querySelectorAll(".tile")) {
    if (tile.dataset.name !== name) continue;
    tile.toggleAttribute("data-dropped", !keep);
    tile.querySelector(".keep").setAttribute("aria-pressed", String(keep));
  }
});
