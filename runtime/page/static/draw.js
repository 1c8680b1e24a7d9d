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
  const name = shape.name.replace(/^(zone|line|way)-?/, ""); // a name that somebody gave, or a number
  const own = rule ? (shape.key === "zones" ? `${rule.name} / ${shape.name}` : rule.name) : `${name ? `${name} ` : ""}(${texts.new})`;
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
  const kinds = [];
  if (!shapes.all.some((shape) => shape.key === "region")) kinds.push({ text: texts.region, about: "region", shape: { key: "region", points: WIDE } });
  kinds.push({ text: texts.privacy, about: "privacy", shape: { key: "privacy", points: AREA } });
  for (const rule of drawing.rules) {
    const hasPolygon = shapes.all.some((shape) => shape.rule === rule.rule && shape.key === "polygon");
    if (!rule.has_area || hasPolygon) continue;
    kinds.push({ text: `${texts["zone-of"]} ${rule.name}`, about: "zone-of", shape: { key: "zones", rule: rule.rule, use: rule.use, name: "zone", points: AREA } });
  }
  kinds.push({ text: texts["new-zone"], about: "zone", shape: { key: "zones", use: "zone", name: "zone", points: AREA } });
  kinds.push({ text: texts["new-crossing"], about: "crossing", shape: { key: "line", use: "crossing", name: "line", points: SEGMENT } });
  kinds.push({ text: texts["new-wrong_way"], about: "wrong_way", shape: { key: "way", use: "wrong_way", name: "way", points: SEGMENT } });
  const select = $("kind");
  const before = select.value;
  const options = kinds.map(({ text, about, shape }) => {
    const option = new Option(text, JSON.stringify(shape));
    option.dataset.about = about;
    return option;
  });
  select.replaceChildren(new Option(texts.choose, ""), ...options);
  chooseKind(options.some((option) => option.value === before) ? before : "");
}

/** Chooses what the next drag on the picture, or Add, makes. */
function chooseKind(value) {
  const select = $("kind");
  if (select.value !== value) select.value = value;
  const { about } = select.selectedOptions[0].dataset;
  const note = about ? `${texts[`about-${about}`]} ${texts.drag}` : "";
  if ($("kind-note").textContent !== note) $("kind-note").textContent = note;
  $("add").disabled = !value;
  $("canvas").toggleAttribute("data-drawing", Boolean(value));
}

function newShape() {
  const shape = { rule: -1, use: "", name: "", ...JSON.parse($("kind").value) };
  const taken = new Set(shapes.all.filter((each) => each.rule === shape.rule).map((each) => each.name));
  if (shape.rule === -1) drawing.rules.forEach((rule) => taken.add(rule.name));
  const stem = shape.name;
  for (let number = 2; stem && taken.has(shape.name); number += 1) shape.name = `${stem}-${number}`;
  return shape;
}

$("kind").addEventListener("change", () => chooseKind($("kind").value));

$("add").addEventListener("click", () => {
  const shape = newShape();
  chooseKind("");
  shapes.add(shape);
});

$("canvas").addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0 || event.target.closest("#handles button, #shapes > *")) return;
  if (!$("kind").value) {
    $("draw-said").textContent = texts["choose-first"];
    return;
  }
  const kind = $("kind").value;
  shapes.stretch(event, newShape(), (isLarge) => {
    chooseKind(isLarge ? "" : kind);
    if (!isLarge) $("draw-said").textContent = texts["drag-farther"];
  });
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

const isChanged = () => JSON.stringify(shapes.all) !== JSON.stringify(drawing.shapes);
const change = connectChange(camera, `${home}/change`, texts, () => ({ before: drawing.before, shapes: shapes.all }), reload, isChanged);

function showWhetherChanged() {
  $("discard").disabled = !isChanged();
  change.refresh();
}

shapes.moved = showWhetherChanged;
$("name").addEventListener("input", showWhetherChanged);
showWhetherChanged();

addEventListener("beforeunload", (event) => {
  if (isChanged()) event.preventDefault();
});

const live = new LivePicture(camera, $("picture"));

/** Whether the daemon runs with the region that the file has. */
function tellRegion({ region, since }) {
  if ($("change-undo").disabled) return; // a change is being applied: neither text is true for long
  const saved = drawing.shapes.find((shape) => shape.key === "region")?.points ?? [];
  const isSame = JSON.stringify(saved) === JSON.stringify(region);
  let text = "";
  if (isSame && saved.length) text = texts["region-same"].replace("%(time)s", since || "–");
  else if (!isSame) text = texts[!region.length ? "region-not-yet" : saved.length ? "region-other" : "region-still"];
  if ($("region-use").textContent !== text) $("region-use").textContent = text;
}

async function showPicture() {
  const { status, details } = await live.next();
  if (status === 200) {
    $("message").textContent = "";
    const { naturalWidth, naturalHeight } = live.image;
    if (naturalHeight) $("canvas").style.setProperty("--aspect", naturalWidth / naturalHeight);
    tellRegion(details);
  }
  else if ($("picture").hidden) $("message").textContent = texts["no-picture"];
}

for (;;) {
  if (!document.hidden) await showPicture().catch(() => {});
  await wait(500);
}
