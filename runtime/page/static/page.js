// What every view has: light or dark, signing out, and requests that change something.

const THEMES = ["", "light", "dark"]; // empty: as the system has it
const root = document.documentElement;

function applyTheme(theme) {
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
}

applyTheme(localStorage.getItem("theme") ?? "");

document.getElementById("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(localStorage.getItem("theme") ?? "") + 1) % THEMES.length];
  localStorage.setItem("theme", next);
  applyTheme(next);
});

/** Sends a request that changes something; the answer is that of fetch. */
export function send(address, content) {
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const headers = { "X-CSRF-Token": csrf, "Content-Type": "application/json" };
  return fetch(address, { method: "POST", headers, body: JSON.stringify(content ?? {}) });
}

/** The part of this page that is kept up to date, as the server has it now; null: it has none, or the user must sign in. */
export async function fetchRefreshed() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (answer.redirected) location.assign("/sign-in");
  if (answer.redirected || !answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("refreshed");
}

/** Texts that the server has translated for a view. */
export function readTexts() {
  return JSON.parse(document.getElementById("texts").textContent);
}

document.getElementById("sign-out")?.addEventListener("click", async () => {
  await send("/sign-out");
  location.assign("/sign-in");
});
