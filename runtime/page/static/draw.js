// Draw: shapes over the live picture, changed by pointer, finger or keyboard, and saved as the camera's file.

import { readTexts, send } from "./page.js";
import { Shapes } from "./drawn_shapes.js";

const { drawing: first, texts } = readTexts();
const $ = (name) => document.getElementById(name);
const camera = $("draw").dataset.camera;
const home = `/draw/${camera}`;
const viewer = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const AREA = [[0.3, 0.35], [0.7, 0.35], [0.7, 0.75], [0.3, 0.75]];
const SEGMENT = [[0.3, 0.6], [0.7, 0.6]];

let drawing = first;
const shapes = new Shapes($("canvas"), $("shapes"), $("handles"), texts, showList);
shapes.load(drawing.shapes);

function nameOf(shape) {
  const masks = shapes.all.filter((each) => each.key === "privacy");
  if (shape.key === "privacy") return `${texts.privacy} ${masks.indexOf(shape) + 1}`;
  const rule = drawing.rules[shape.rule];
  const own = rule ? (shape.key === "zones" ? `${rule.name} / ${shape.name}` : rule.name) : `${shape.name || shape.use} (${texts.new})`;
  return `${texts[shape.key]} ${own}`;
}

function button(text, act, label) {
  const element = document.createElement("button");
  element.type = "button";
  element.textContent = text;
  if (label) element.setAttribute("aria-label", label);
  element.addEventListener("click", act);
  return element;
}

function showList() {
  const items = shapes.all.map((shape, index) => {
    const item = document.createElement("li");
    const name = nameOf(shape);
    const choose = button(name, () => shapes.choose(index));
    choose.dataset.key = shape.key;
    choose.setAttribute("aria-pressed", String(index === shapes.chosen));
    const remove = button("×", () => {
      shapes.remove(index);
      $("list").querySelector("button")?.focus();
    }, `${texts.remove}: ${name}`);
    remove.className = "icon";
    item.append(choose, remove);
    return item;
  });
  if (!items.length) {
    const item = document.createElement("li");
    item.className = "quiet-text";
    item.textContent = texts.nothing;
    items.push(item);
  }
  const focused = [...$("list").querySelectorAll("button")].indexOf(document.activeElement);
  $("list").replaceChildren(...items);
  if (focused >= 0) $("list").querySelectorAll("button")[focused]?.focus();
  const shape = shapes.all[shapes.chosen];
  $("rename").hidden = !shape || shape.key === "privacy" || (shape.key !== "zones" && shape.rule !== -1);
  if (shape && document.activeElement !== $("name")) $("name").value = shape.name;
  $("mask-note").hidden = shape?.key !== "privacy";
  $("back").hidden = !drawing.has_before;
  showKinds();
}

function showKinds() {
  const kinds = [{ text: texts.privacy, shape: { key: "privacy", points: AREA } }];
  for (const rule of drawing.rules) {
    const hasPolygon = shapes.all.some((shape) => shape.rule === rule.rule && shape.key === "polygon");
    if (!rule.has_area || hasPolygon) continue;
    kinds.push({ text: `${texts["zone-of"]} ${rule.name}`, shape: { key: "zones", rule: rule.rule, use: rule.use, name: "zone", points: AREA } });
  }
  kinds.push({ text: texts["new-zone"], shape: { key: "zones", use: "zone", name: "zone", points: AREA } });
  kinds.push({ text: texts["new-crossing"], shape: { key: "line", use: "crossing", name: "line", points: SEGMENT } });
  kinds.push({ text: texts["new-wrong_way"], shape: { key: "way", use: "wrong_way", name: "way", points: SEGMENT } });
  const select = $("kind");
  const before = select.value;
  const options = kinds.map(({ text, shape }) => new Option(text, JSON.stringify(shape)));
  select.replaceChildren(...options);
  if (options.some((option) => option.value === before)) select.value = before;
}

$("add").addEventListener("click", () => {
  const shape = { rule: -1, use: "", name: "", ...JSON.parse($("kind").value) };
  const taken = new Set(shapes.all.filter((each) => each.rule === shape.rule).map((each) => each.name));
  if (shape.rule === -1) drawing.rules.forEach((rule) => taken.add(rule.name));
  const stem = shape.name;
  for (let number = 2; stem && taken.has(shape.name); number += 1) shape.name = `${stem}-${number}`;
  shapes.add(shape);
});

$("name").addEventListener("input", () => {
  shapes.all[shapes.chosen].name = $("name").value;
  showList();
});

function load(found) {
  drawing = found;
  shapes.load(found.shapes);
}

async function reload() {
  const answer = await fetch(`${home}/shapes`);
  if (answer.ok) load(await answer.json());
}

$("discard").addEventListener("click", () => load(drawing));

let draft = null;

function tell(text, level = "") {
  $("result").textContent = text;
  $("result").dataset.level = level;
}

async function review(content) {
  draft = content;
  tell("");
  let answer;
  try {
    answer = await send(`${home}/preview`, draft);
  } catch {
    return tell(texts.lost, "bad");
  }
  if (answer.status === 401) return location.assign("/sign-in");
  const { diff, problem, message } = await answer.json();
  if (!answer.ok) return tell(message, "bad");
  if (!diff.length) return tell(texts.unchanged);
  $("diff").replaceChildren(
    ...diff.map((line) => {
      const row = document.createElement("span");
      row.dataset.kind = { "+": "new", "-": "old", "@": "place" }[line[0]] ?? "";
      row.textContent = `${line}\n`;
      return row;
    }),
  );
  $("verdict").textContent = problem ? `${texts["refused-now"]} ${problem}` : texts.checked;
  $("verdict").dataset.level = problem ? "bad" : "good";
  $("save").disabled = Boolean(problem);
  $("dialog").showModal();
}

const current = () => ({ digest: drawing.digest, shapes: shapes.all });
$("review").addEventListener("click", () => review(current()));
$("back").addEventListener("click", () => review({ digest: drawing.digest, undo: true }));
$("cancel").addEventListener("click", () => $("dialog").close());

async function follow(identity) {
  for (let misses = 0; misses < 5; await wait(700)) {
    let result;
    try {
      result = await (await fetch(`${home}/result/${identity}`)).json();
    } catch {
      tell(texts.lost, "bad");
      continue;
    }
    if (result.outcome === "waiting") tell(texts.waiting);
    else if (result.outcome === "") misses += 1;
    else {
      tell(`${texts[result.outcome]} ${result.reason}`.trim(), result.outcome === "applied" ? "good" : "bad");
      if (result.outcome === "applied") await reload();
      return;
    }
  }
  tell(texts.unknown, "bad");
}

$("save").addEventListener("click", async () => {
  $("save").disabled = true;
  const answer = await send(`${home}/save`, draft).catch(() => null);
  $("dialog").close();
  if (!answer) return tell(texts.lost, "bad");
  const { id, message } = await answer.json();
  if (!answer.ok) return tell(message, "bad");
  $("review").disabled = $("back").disabled = true;
  tell(texts.waiting);
  await follow(id);
  $("review").disabled = $("back").disabled = false;
});

addEventListener("beforeunload", (event) => {
  if (JSON.stringify(shapes.all) !== JSON.stringify(drawing.shapes)) event.preventDefault();
});

async function fetchPicture() {
  const answer = await fetch(`/live/${camera}/picture?viewer=${viewer}`);
  if (answer.status === 401) return location.assign("/sign-in");
  if (answer.status !== 200) {
    if ($("picture").hidden) $("message").textContent = texts["no-picture"];
    return;
  }
  const message = await answer.arrayBuffer();
  const length = new DataView(message).getUint32(0);
  const details = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length)));
  const url = URL.createObjectURL(new Blob([new Uint8Array(message, 4 + length, details.jpeg_bytes)], { type: "image/jpeg" }));
  $("picture").src = url;
  await $("picture").decode().catch(() => {});
  URL.revokeObjectURL(url);
  $("picture").hidden = false;
  $("message").textContent = "";
}

for (;;) {
  if (!document.hidden) await fetchPicture().catch(() => {});
  await wait(500);
}
