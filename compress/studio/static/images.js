// Images are sent one after the other, so that one that is refused stops no other.

import "./keep.js";

const $ = (name) => document.getElementById(name);
const drop = $("drop");

async function store(label, file) {
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const headers = { "X-CSRF-Token": csrf, "X-Name": encodeURIComponent(file.name) };
  const answer = await fetch(`/images/${label}`, { method: "POST", headers, body: file });
  if (answer.ok) return "";
  if ((answer.headers.get("content-type") ?? "").includes("json")) {
    const { problem, hint } = await answer.json();
    return `${problem}; ${hint}`;
  }
  return answer.text();
}

async function storeAll(files) {
  const said = $("said");
  const { label } = drop.dataset;
  const bar = $("progress");
  bar.hidden = false;
  bar.max = files.length;
  let stored = 0;
  $("problems").replaceChildren();
  for (const [done, file] of files.entries()) {
    bar.value = done;
    said.textContent = `${done} ${said.dataset.of} ${files.length}`;
    const problem = await store(label, file).catch((error) => error.message);
    if (!problem) stored += 1;
    else {
      const item = document.createElement("li");
      item.textContent = `${said.dataset.failed} ${file.name}: ${problem}`;
      $("problems").append(item);
    }
  }
  bar.hidden = true;
  said.textContent = `${stored} ${said.dataset.of} ${files.length} ${said.dataset.done}`;
  if (stored === files.length) location.reload();
  else $("reload").hidden = !stored;
}

if (drop) {
  $("files").addEventListener("change", () => storeAll([...$("files").files]));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.dataset.over = "";
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => delete drop.dataset.over);
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    storeAll([...event.dataTransfer.files]);
  });
}
