// The figures are fetched again now and then, unless somebody reads another window or has the focus in them.

import { fetchRefreshed } from "./page.js";

const SECONDS = 10;
const place = document.getElementById("refreshed");

setInterval(async () => {
  if (document.hidden || place.contains(document.activeElement)) return;
  try {
    const fresh = await fetchRefreshed();
    if (fresh) place.replaceChildren(...fresh.childNodes);
  } catch {
    // the next time
  }
}, 1000 * SECONDS);
