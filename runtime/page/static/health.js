// The figures are fetched again now and then, unless somebody reads another window or has the focus in them.

const SECONDS = 10;
const place = document.getElementById("refreshed");

setInterval(async () => {
  if (document.hidden || place.contains(document.activeElement)) return;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (answer.redirected) location.assign("/sign-in");
    else if (answer.ok) {
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("refreshed");
      if (fresh) place.replaceChildren(...fresh.childNodes);
    }
  } catch {
    // the next time
  }
}, 1000 * SECONDS);
