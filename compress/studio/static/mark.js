// Marks on a defective image, with a box or a brush; the canvas has the pixels of the shown picture.

import "./keep.js";

const $ = (name) => document.getElementById(name);
const canvas = $("marks");
const picture = $("picture");
const drawing = canvas.getContext("2d", { willReadFrequently: true });
const said = $("said");
const { name } = $("marking").dataset;
const address = `?name=${encodeURIComponent(name)}`;
const undone = [];
let tool = "box";
let start = null;
let base = null;
let cursor = null;

function say(kind) {
  said.textContent = said.dataset[kind];
  said.dataset.level = kind === "saved" ? "good" : "";
}

function remember() {
  undone.push(drawing.getImageData(0, 0, canvas.width, canvas.height));
  if (undone.length > 20) undone.shift();
}

function radius() {
  return (Number($("size").value) / 200) * Math.max(canvas.width, canvas.height);
}

function placeOf(event) {
  const area = canvas.getBoundingClientRect();
  return [((event.clientX - area.left) / area.width) * canvas.width, ((event.clientY - area.top) / area.height) * canvas.height];
}

function stroke([fromX, fromY], [toX, toY]) {
  drawing.globalCompositeOperation = tool === "eraser" ? "destination-out" : "source-over";
  drawing.lineWidth = 2 * radius();
  drawing.lineCap = "round";
  drawing.strokeStyle = "#ff5050";
  drawing.beginPath();
  drawing.moveTo(fromX, fromY);
  drawing.lineTo(toX + 0.01, toY);
  drawing.stroke();
  drawing.globalCompositeOperation = "source-over";
}

function fill([fromX, fromY], [toX, toY]) {
  drawing.fillStyle = "#ff5050";
  drawing.fillRect(Math.min(fromX, toX), Math.min(fromY, toY), Math.abs(toX - fromX), Math.abs(toY - fromY));
}

canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  remember();
  base = undone.at(-1);
  start = placeOf(event);
  if (tool !== "box") stroke(start, start);
});

canvas.addEventListener("pointermove", (event) => {
  if (!start) return;
  const here = placeOf(event);
  if (tool === "box") {
    drawing.putImageData(base, 0, 0);
    fill(start, here);
  } else {
    stroke(start, here);
    start = here;
  }
});

for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    if (start) say("unsaved");
    start = null;
  });
}

canvas.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  cursor ??= [canvas.width / 2, canvas.height / 2];
  if (event.key in moves) {
    const step = Math.max(canvas.width, canvas.height) * (event.shiftKey ? 0.05 : 0.01);
    cursor = [0, 1].map((axis) => Math.min(Math.max(cursor[axis] + moves[event.key][axis] * step, 0), axis ? canvas.height : canvas.width));
  } else if (event.key === " ") {
    remember();
    const size = radius();
    if (tool === "box") fill([cursor[0] - size, cursor[1] - size], [cursor[0] + size, cursor[1] + size]);
    else stroke(cursor, cursor);
    say("unsaved");
  } else return;
  event.preventDefault();
  $("cursor").hidden = false;
  $("cursor").style.left = `${(cursor[0] / canvas.width) * 100}%`;
  $("cursor").style.top = `${(cursor[1] / canvas.height) * 100}%`;
});

for (const button of document.querySelectorAll("[data-tool]")) {
  button.addEventListener("click", () => {
    tool = button.dataset.tool;
    for (const each of document.querySelectorAll("[data-tool]")) each.setAttribute("aria-pressed", String(each === button));
  });
}

$("undo").addEventListener("click", () => {
  const before = undone.pop();
  if (before) drawing.putImageData(before, 0, 0);
  say("unsaved");
});

$("clear").addEventListener("click", () => {
  remember();
  drawing.clearRect(0, 0, canvas.width, canvas.height);
  say("unsaved");
});

$("save").addEventListener("click", async () => {
  const content = await new Promise((resolve) => { canvas.toBlob(resolve, "image/png"); });
  const csrf = document.querySelector('meta[name="csrf"]').content;
  const answer = await fetch(`/mark${address}`, { method: "POST", headers: { "X-CSRF-Token": csrf }, body: content });
  if (answer.ok) say("saved");
  else {
    const { problem, hint } = await answer.json();
    said.textContent = `${problem}: ${hint}`;
    said.dataset.level = "bad";
  }
});

await picture.decode();
canvas.width = picture.naturalWidth;
canvas.height = picture.naturalHeight;
if ("marked" in $("marking").dataset) {
  const mask = new Image();
  mask.src = `/mask${address}`;
  await mask.decode();
  drawing.drawImage(mask, 0, 0, canvas.width, canvas.height);
}
