// Shapes over a picture: polygons and lines whose points a pointer, a finger or the keyboard moves.

const SVG = "http://www.w3.org/2000/svg";
const CLOSED = ["region", "privacy", "polygon", "zones", "points"];
const FIXED = { way: 2, points: 4 }; // so many points they have, no more and no fewer
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const STEP = 0.01;
const clamp = (value) => Math.round(1e4 * Math.min(1, Math.max(0, value))) / 1e4;

function place(element, [x, y]) {
  element.style.left = `${100 * x}%`;
  element.style.top = `${100 * y}%`;
}

/** The points with one more after the one at `index`. */
function withPoint(points, index, isClosed) {
  const last = index === points.length - 1 && !isClosed;
  const [a, b] = last ? [points[index - 1], points[index]] : [points[index], points[(index + 1) % points.length]];
  const middle = last ? [2 * b[0] - a[0], 2 * b[1] - a[1]] : [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  return points.toSpliced(index + 1, 0, middle.map(clamp));
}

export class Shapes {
  /** `changed` is called after each change of the list or of what is chosen. */
  constructor(stage, svg, handles, texts, changed) {
    Object.assign(this, { stage, svg, handles, texts, changed, moved: () => {}, all: [], chosen: -1 });
    new ResizeObserver(() => this.draw()).observe(stage);
  }

  load(shapes) {
    this.all = structuredClone(shapes);
    this.choose(this.all.length ? 0 : -1);
  }

  choose(index) {
    this.chosen = index;
    this.draw();
    this.makeHandles();
    this.changed();
  }

  add(shape) {
    this.all.push(shape);
    this.choose(this.all.length - 1);
    this.handles.querySelector(".handle")?.focus();
  }

  remove(index) {
    this.all.splice(index, 1);
    this.choose(Math.min(index, this.all.length - 1));
  }

  draw() {
    const elements = this.all.map((shape, index) => {
      const isClosed = CLOSED.includes(shape.key);
      const element = document.createElementNS(SVG, isClosed ? "polygon" : "polyline");
      const points = shape.key === "way" ? [...shape.points, ...this.arrow(shape.points)] : shape.points;
      element.setAttribute("points", points.map(([x, y]) => `${1000 * x},${1000 * y}`).join(" "));
      element.dataset.key = shape.key;
      if (index === this.chosen) element.dataset.chosen = "";
      element.addEventListener("pointerdown", (event) => this.dragShape(event, index));
      return element;
    });
    this.svg.replaceChildren(...elements);
    this.moved();
  }

  /** The points of an arrow's head, after its tip. */
  arrow([[ax, ay], [bx, by]]) {
    const { clientWidth: width, clientHeight: height } = this.stage;
    const angle = Math.atan2((by - ay) * height, (bx - ax) * width);
    const at = (turn) => [bx - (22 * Math.cos(angle + turn)) / width, by - (22 * Math.sin(angle + turn)) / height];
    return [at(0.45), [bx, by], at(-0.45)];
  }

  makeHandles() {
    const shape = this.all[this.chosen];
    const handles = (shape?.points ?? []).map((_, index) => this.makeHandle(shape, index));
    const middles = [];
    if (shape && !FIXED[shape.key]) {
      const count = shape.points.length - (CLOSED.includes(shape.key) ? 0 : 1);
      for (let index = 0; index < count; index += 1) middles.push(this.makeMiddle(shape, index));
    }
    this.handles.replaceChildren(...middles, ...handles);
    this.placeHandles();
  }

  makeHandle(shape, index) {
    const handle = document.createElement("button");
    handle.type = "button";
    handle.className = "handle";
    if (!CLOSED.includes(shape.key) || shape.key === "points") handle.textContent = index + 1;
    handle.addEventListener("pointerdown", (event) => this.dragPoint(event, handle, index));
    handle.addEventListener("keydown", (event) => this.press(event, index));
    return handle;
  }

  makeMiddle(shape, index) {
    const middle = document.createElement("button");
    middle.type = "button";
    middle.className = "middle";
    middle.tabIndex = -1; // the keyboard has + at a point
    middle.setAttribute("aria-label", this.texts.middle);
    middle.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      this.insert(index);
      const handle = this.handles.querySelectorAll(".handle")[index + 1];
      this.dragPoint(event, handle, index + 1);
    });
    return middle;
  }

  placeHandles() {
    const shape = this.all[this.chosen];
    if (!shape) return;
    this.handles.querySelectorAll(".handle").forEach((handle, index) => {
      const [x, y] = shape.points[index];
      place(handle, [x, y]);
      const where = `${Math.round(100 * x)} % ${this.texts.left}, ${Math.round(100 * y)} % ${this.texts.top}`;
      handle.setAttribute("aria-label", `${this.texts.point} ${index + 1}: ${where}`);
    });
    this.handles.querySelectorAll(".middle").forEach((middle, index) => {
      const [a, b] = [shape.points[index], shape.points[(index + 1) % shape.points.length]];
      place(middle, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
    });
  }

  insert(index) {
    const shape = this.all[this.chosen];
    shape.points = withPoint(shape.points, index, CLOSED.includes(shape.key));
    this.draw();
    this.makeHandles();
  }

  press(event, index) {
    const shape = this.all[this.chosen];
    const arrow = ARROWS[event.key];
    if (arrow) {
      const step = event.shiftKey ? 5 * STEP : STEP;
      shape.points[index] = shape.points[index].map((value, axis) => clamp(value + step * arrow[axis]));
      this.draw();
      this.placeHandles();
    } else if ((event.key === "+" || event.key === "Insert") && !FIXED[shape.key]) {
      this.insert(index);
      this.handles.querySelectorAll(".handle")[index + 1].focus();
    } else if (event.key === "Delete" || event.key === "Backspace") {
      const fewest = FIXED[shape.key] ?? (CLOSED.includes(shape.key) ? 3 : 2);
      if (shape.points.length > fewest) {
        shape.points = shape.points.toSpliced(index, 1);
        this.draw();
        this.makeHandles();
        this.handles.querySelectorAll(".handle")[Math.min(index, shape.points.length - 1)].focus();
      }
    } else return;
    event.preventDefault();
  }

  /** Draws a new shape from corner to corner, or a line from end to end, with the pointer; `ended` gets whether it is large enough. */
  stretch(event, shape, ended) {
    const box = this.stage.getBoundingClientRect();
    const from = [clamp((event.clientX - box.left) / box.width), clamp((event.clientY - box.top) / box.height)];
    const isClosed = CLOSED.includes(shape.key);
    let way = [0, 0];
    shape.points = isClosed ? [from, from, from, from] : [from, from];
    this.add(shape);
    const index = this.chosen;
    this.follow(event, (now) => {
      way = now;
      const to = from.map((value, axis) => clamp(value + way[axis]));
      shape.points = isClosed ? [from, [to[0], from[1]], to, [from[0], to[1]]] : [from, to];
    }, () => {
      const sides = way.map(Math.abs);
      const isLarge = isClosed ? Math.min(...sides) >= 2 * STEP : Math.max(...sides) >= 2 * STEP;
      if (!isLarge) this.remove(index);
      else this.makeHandles();
      ended(isLarge);
    });
  }

  /** Calls `move` with the way of the pointer in fractions of the picture, until it is lifted. */
  follow(event, move, done = () => {}) {
    event.preventDefault();
    const box = this.stage.getBoundingClientRect();
    const start = [event.clientX, event.clientY];
    const moved = (next) => {
      if (next.pointerId !== event.pointerId) return;
      move([(next.clientX - start[0]) / box.width, (next.clientY - start[1]) / box.height]);
      this.draw();
      this.placeHandles();
    };
    const ended = new AbortController();
    addEventListener("pointermove", moved, { signal: ended.signal });
    for (const end of ["pointerup", "pointercancel"]) addEventListener(end, (last) => {
      if (last.pointerId !== event.pointerId) return;
      ended.abort();
      done();
    }, { signal: ended.signal });
  }

  dragPoint(event, handle, index) {
    handle.focus();
    const { points } = this.all[this.chosen];
    const from = points[index];
    this.follow(event, (way) => {
      points[index] = from.map((value, axis) => clamp(value + way[axis]));
    });
  }

  dragShape(event, index) {
    if (index !== this.chosen) this.choose(index);
    const shape = this.all[index];
    const from = structuredClone(shape.points);
    const limits = [0, 1].map((axis) => from.map((point) => point[axis])).map((values) => [-Math.min(...values), 1 - Math.max(...values)]);
    this.follow(event, (way) => {
      const kept = way.map((value, axis) => Math.min(limits[axis][1], Math.max(limits[axis][0], value)));
      shape.points = from.map((point) => point.map((value, axis) => clamp(value + kept[axis])));
    });
  }
}
