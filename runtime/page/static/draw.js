// Draw: shapes over the live picture, changed by pointer, finger or keyboard, and saved as the camera's file.

import { connectChange } from "./change.js";
import { Shapes } from "./drawn_shapes.js";
import { LivePicture, wait } from "./live_picture.js";
import { readTexts } from "./page.js";

const { drawing: first, texts } = readTexts();
const $ = (name) => document.getElementById(name);
const camera = $("draw").dataset.camera;
const home = `/draw/${camera}`;
const AREA = [[0.3, 0.35], [0.7, 0.35], [0.7, 0.75], [0.3, 0.75]];
const WIDE = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]];
const SEGMENT = [[0.3, 0.6], [0.7, 0.6]];

let drawing = first;
const shapes = new Shapes($("canvas"), $("shapes"), $("handles"), texts, showList);
shapes.load(drawing.shapes);

function nameOf(shape) {
  const masks = shapes.all.filter((each) => each.key === "privacy");
  if (shape.key === "region") return texts.region;
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
  $("rename").hidden = !shape || ["region", "privacy"].includes(shape.key) || (shape.key !== "zones" && shape.rule !== -1);
  if (shape && document.activeElement !== $("name")) $("name").value = shape.name;
  $("mask-note").hidden = shape?.key !== "privacy";
  $("region-note").hidden = shape?.key !== "region";
  showKinds();
}

function showKinds() {
  const kinds = [{ text: texts.privacy, shape: { key: "privacy", points: AREA } }];
  if (!shapes.all.some((shape) => shape.key === "region")) kinds.push({ text: texts.region, shape: { key: "region", points: WIDE } });
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

connectChange(camera, `${home}/change`, texts, () => ({ before: drawing.before, shapes: shapes.all }), reload);

addEventListener("beforeunload", (event) => {
  if (JSON.stringify(shapes.all) !== JSON.stringify(drawing.shapes)) event.preventDefault();
});

const live = new LivePicture(camera, $("picture"));

async function showPicture() {
  const { status } = await live.next();
  if (status === 200) $("message").textContent = "";
  else if ($("picture").hidden) $("message").textContent = texts["no-picture"];
}

for (;;) {
  if (!document.hidden) await showPicture().catch(() => {});
  await wait(500);
}
