// A filter applies as soon as it is chosen; new events appear by themselves.

import { fetchRefreshed } from "./page.js";

const form = document.getElementById("filters");
form.addEventListener("change", () => {
  for (const each of form.querySelectorAll("select")) each.disabled = !each.value; // keeps the address short
  form.submit();
});

const SECONDS = 5;
const place = document.getElementById("refreshed");

/** Shows the list as it is now, unless somebody has the focus in it; cards that are the same stay, with their pictures. */
async function refresh() {
  if (document.hidden || place.contains(document.activeElement)) return;
  const fresh = await fetchRefreshed();
  if (!fresh || fresh.innerHTML === place.innerHTML) return;
  const present = new Map([...place.querySelectorAll("li")].map((item) => [item.innerHTML, item]));
  for (const item of fresh.querySelectorAll("li")) {
    const same = present.get(item.innerHTML);
    if (same) item.replaceWith(same);
  }
  place.replaceChildren(...fresh.childNodes);
}

const isNewest = !new URLSearchParams(location.search).has("before");
if (isNewest) setInterval(() => refresh().catch(() => {}), 1000 * SECONDS);
