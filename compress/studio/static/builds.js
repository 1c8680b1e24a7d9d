import { ask } from "./started.js";

document.getElementById("start")?.addEventListener("click", async () => {
  const previous = document.getElementById("previous")?.value;
  const started = await ask("/builds/start", previous ? { previous: Number(previous) } : {});
  if (started) location.assign(`/builds/${started.number}`);
});
