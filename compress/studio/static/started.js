// A request that starts or changes something; what is wrong with it is told in the view.

import { send } from "/static/page.js";

/** The answer, or null after telling the problem in the element "said". */
export async function ask(address, content) {
  const said = document.getElementById("said");
  const answer = await send(address, content);
  if (answer.ok) return answer.json();
  const told = (answer.headers.get("content-type") ?? "").includes("json") ? await answer.json() : null;
  said.textContent = told ? `${told.problem}: ${told.hint}` : await answer.text();
  said.dataset.level = "bad";
  return null;
}

/** Shows how far a loop is. */
export function showCounted(counted) {
  const bar = document.getElementById("progress");
  if (counted) {
    bar.max = counted[2];
    bar.value = counted[1];
  } else bar.removeAttribute("value");
}

/** Waits. */
export function wait(milliseconds) {
  return new Promise((resolve) => { setTimeout(resolve, milliseconds); });
}
