// Live pictures: fetches one after the other, draws boxes and heat map over it, and the line of the score.

import { LivePicture, wait } from "./live_picture.js";
import { readTexts } from "./page.js";

const MIN_INTERVAL = 100; // milliseconds: at most ten pictures a second
const LINE_SECONDS = 60;
const FILL_MS = [500, 7000]; // the daemon writes its scores within some seconds after somebody has begun to watch
const texts = readTexts();
const live = document.getElementById("live");
const $ = (name) => document.getElementById(name);
const picture = new LivePicture(live.dataset.camera, $("picture"));
const SVG = "http://www.w3.org/2000/svg";

let past = [];
let began = 0; // when the first picture came
let paused = false;
let last = []; // the open events of the last alarm, which may be over before anybody can press its link

function format(value, digits = 3) {
  return value === null || value === undefined ? "–" : String(Number(Number(value).toPrecision(digits)));
}

function drawBoxes(details) {
  const boxes = [];
  if (details.region.length) {
    const region = document.createElementNS(SVG, "polygon");
    region.setAttribute("points", details.region.map(([x, y]) => `${1000 * x},${1000 * y}`).join(" "));
    boxes.push(region);
  }
  const names = [];
  for (const { label, score, box } of $("show-boxes").checked ? details.predictions : []) {
    if (!box) continue;
    const over = score >= details.threshold;
    const rect = document.createElementNS(SVG, "rect");
    rect.setAttribute("x", 1000 * box.left);
    rect.setAttribute("y", 1000 * box.top);
    rect.setAttribute("width", 1000 * (box.right - box.left));
    rect.setAttribute("height", 1000 * (box.bottom - box.top));
    if (over) rect.dataset.over = "";
    boxes.push(rect);
    if (!over) continue; // a name for each doubtful box would hide the picture; "What the model reports" lists them
    const name = document.createElement("span");
    name.textContent = `${label} ${format(score, 2)}`;
    name.style.left = `${100 * Math.min(box.left, 0.8)}%`;
    name.style.top = `${100 * box.top}%`;
    if (box.top < 0.06) name.dataset.inside = "";
    names.push(name);
  }
  $("boxes").replaceChildren(...boxes);
  $("names").replaceChildren(...names);
}

function drawHeat(shape, cells) {
  const canvas = $("heat");
  canvas.hidden = !shape || !$("show-heat").checked;
  if (canvas.hidden) return;
  const [rows, columns] = shape;
  canvas.width = columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, rows);
  cells.forEach((value, index) => {
    const strength = Math.max(0, (value - 40) / 215); // 128 is the threshold
    image.data.set([255, Math.round(210 * (1 - strength)), 40, Math.round(235 * Math.min(1, 1.6 * strength))], 4 * index);
  });
  context.putImageData(image, 0, 0);
}

function drawLine(threshold) {
  const now = performance.now();
  while (past.length && now - past[0].at > 1000 * LINE_SECONDS) past.shift();
  const top = 1.15 * Math.max(threshold, ...past.map((each) => each.score)) || 1;
  const y = (score) => (120 - (120 * score) / top).toFixed(1);
  const x = (at) => (600 - ((now - at) / (1000 * LINE_SECONDS)) * 600).toFixed(1);
  $("scores").setAttribute("points", past.map((each) => `${x(each.at)},${y(each.score)}`).join(" "));
  $("limit").setAttribute("y1", y(threshold));
  $("limit").setAttribute("y2", y(threshold));
  $("over").setAttribute("height", Math.max(0, y(threshold)));
}

function item(...parts) {
  const element = document.createElement("li");
  element.append(...parts);
  return element;
}

function strong(text) {
  const element = document.createElement("strong");
  element.textContent = text;
  return element;
}

function compare(score, limit) {
  const text = score >= limit ? texts.above : texts.below;
  const values = { distance: format(Math.abs(score - limit), 2), limit: format(limit) };
  return text.replace(/%\((\w+)\)s/g, (_, name) => values[name]);
}

function tell(details) {
  const isOpen = details.open.length > 0;
  const state = $("state");
  state.dataset.level = isOpen ? "bad" : "good";
  const text = isOpen ? texts.alarm : texts.quiet;
  replaceText(state, text);
  $("score").textContent = format(details.score);
  $("relation").textContent = details.score === null ? "" : compare(details.score, details.threshold);
  $("threshold").textContent = format(details.threshold);
  $("rate").textContent = details.frames_per_second === null ? "–" : details.frames_per_second.toFixed(1);
  $("latency").textContent = details.latency_ms === null ? "–" : details.latency_ms.toFixed(0);
  const age = Math.max(0, details.age);
  $("age").textContent = age < 60 ? `${age.toFixed(1)} s ${texts.late}` : "–";
  $("model").textContent = details.model;
  $("region-note").hidden = !details.region.length;
  replaceText($("region-note"), texts.region.replace("%(time)s", details.since || "–"));
  if (isOpen) last = details.open;
  const reasons = last.map((each) => {
    const link = document.createElement("a");
    link.href = `/events/${live.dataset.camera}/${each.event}`;
    link.append(strong(each.rule));
    return isOpen ? item(link, ` ${each.why} (${texts.since} ${each.since})`) : item(`${texts.last} ${each.since} · `, link, ` ${each.why}`);
  });
  replaceIfNew($("reasons"), isOpen ? reasons : [item(texts.none), ...reasons]);
  const best = [...details.predictions].sort((a, b) => b.score - a.score).slice(0, 6);
  replaceIfNew($("seen"), best.length ? best.map((each) => item(strong(each.label), ` ${format(each.score)}`)) : [item("–")]);
}

function replaceText(element, text) {
  if (element.textContent !== text) element.textContent = text; // a screen reader hears changes only
}

function replaceIfNew(list, items) {
  if (list.textContent !== items.map((each) => each.textContent).join("")) list.replaceChildren(...items);
}

function show(details, heat) {
  const { naturalWidth, naturalHeight } = picture.image;
  if (naturalHeight) $("stage").style.setProperty("--aspect", naturalWidth / naturalHeight);
  $("heat-switch").hidden = !details.heat_shape;
  drawHeat(details.heat_shape, heat);
  drawBoxes(details);
  if (!began) {
    began = performance.now();
    for (const delay of FILL_MS) setTimeout(fillLine, delay);
  }
  if (details.score !== null) past.push({ at: performance.now(), score: details.score });
  drawLine(details.threshold);
  tell(details);
}

function complain(text) {
  $("message").textContent = text;
  $("stage").toggleAttribute("data-stale", Boolean(text));
  if (text) {
    $("state").dataset.level = "off";
    $("state").textContent = text;
    $("age").textContent = "–";
  }
}

/** The line of the time before this view was opened, as far as the daemon has written its scores. */
async function fillLine() {
  const answer = await fetch(`/live/${live.dataset.camera}/scores`).catch(() => null);
  if (!answer?.ok) return;
  const now = performance.now();
  const before = (await answer.json()).map(([age, score]) => ({ at: now - 1000 * age, score }));
  past = [...before.filter((each) => each.at < began), ...past.filter((each) => each.at >= began)];
}

async function step() {
  const started = performance.now();
  try {
    const { status, details, heat } = await picture.next();
    if (status === 200) {
      show(details, heat);
      complain("");
    } else if (status === 204) complain(texts.waiting);
    else if (status === 429) complain(texts.busy);
    else complain(texts.lost);
    if (status !== 200) await wait(1000);
  } catch {
    complain(texts.lost);
    await wait(2000);
  }
  await wait(MIN_INTERVAL - (performance.now() - started));
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
});

for (;;) {
  if (paused || document.hidden) await wait(250);
  else await step();
}
