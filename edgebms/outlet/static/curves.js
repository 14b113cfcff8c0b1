// Curves over the last minutes, drawn as SVG. A point is [at_ms, low_v, high_v, spread_v, low_c, high_c, current_a, soc].
import { element, plain } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";
const [AT, LOW_V, HIGH_V, SPREAD_V, LOW_C, HIGH_C, CURRENT, SOC] = Array(8).keys();
const CURVES = [
  { title: "Cell voltage, lowest (dashed) to highest", band: [LOW_V, HIGH_V], unit: "V", least: 0.02 },
  { title: "Spread of the cells", one: SPREAD_V, unit: "mV", factor: 1000, least: 5, floor: 0 },
  { title: "Temperature, lowest (dashed) to highest", band: [LOW_C, HIGH_C], unit: "°C", least: 2 },
  { title: "Current (charging is positive)", one: CURRENT, unit: "A", least: 1, zero: true },
  { title: "State of charge", one: SOC, unit: "%", factor: 100, least: 2 },
];
const HEIGHT = 108, LEFT = 52, BOTTOM = 18, TOP = 6;

function node(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

export function ticks(low, high, count = 3) {
  const raw = (high - low) / count, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * size).find((s) => s >= raw);
  const out = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i++) out.push(i * step);
  return out;
}

// Pieces without a gap: a value that is not known, or steps that are missing, break the line.
function pieces(points, fields, stepMs) {
  const out = [];
  let piece = [], last = null;
  for (const point of points) {
    const gap = fields.some((f) => point[f] === null) || (last !== null && point[AT] - last > 2.5 * stepMs);
    if (gap && piece.length) { out.push(piece); piece = []; }
    if (!fields.some((f) => point[f] === null)) piece.push(point);
    last = point[AT];
  }
  if (piece.length) out.push(piece);
  return out;
}

export class Curves {
  constructor(place) {
    this.place = place;
    this.parts = CURVES.map((curve) => {
      const box = element("div"), title = element("h3"), read = element("output");
      box.className = "curve";
      title.append(element("span", curve.title), read);
      const svg = node("svg", { role: "img", "aria-label": curve.title });
      box.append(title, svg);
      place.append(box);
      svg.addEventListener("pointermove", (event) => this.read(event));
      svg.addEventListener("pointerleave", () => { this.hair = null; this.draw(); });
      return { curve, svg, read };
    });
    new ResizeObserver(() => this.draw()).observe(place);
  }

  show(points, stepMs, keptMs) {
    Object.assign(this, { points, stepMs, keptMs });
    this.draw();
  }

  read(event) {
    const box = event.currentTarget.getBoundingClientRect();
    this.hair = (event.clientX - box.left - LEFT) / (box.width - LEFT - 4);
    this.draw();
  }

  draw() {
    const width = this.place.clientWidth;
    if (!this.points || width < 60) return;
    for (const part of this.parts) this.one(part, width);
  }

  one({ curve, svg, read }, width) {
    const { points } = this, fields = curve.band ?? [curve.one], factor = curve.factor ?? 1;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    const lines = pieces(points, fields, this.stepMs);
    const values = lines.flat().flatMap((point) => fields.map((f) => point[f] * factor));
    read.textContent = "";
    if (!values.length) {
      svg.replaceChildren(node("text", { x: width / 2, y: HEIGHT / 2, "text-anchor": "middle", class: "none" }, points.length ? "not known" : "no values yet"));
      return;
    }
    let low = Math.min(...values), high = Math.max(...values);
    if (curve.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
    const more = Math.max(curve.least - (high - low), (high - low) * 0.1) / 2;
    low = curve.floor === undefined ? low - more : Math.max(curve.floor, low - more);
    high += more;
    const end = points[points.length - 1][AT] + this.stepMs, begin = end - this.keptMs;
    const x = (at) => LEFT + ((at - begin) / (end - begin)) * (width - LEFT - 4);
    const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - BOTTOM - TOP);
    const drawn = [];
    for (const tick of ticks(low, high)) {
      drawn.push(node("line", { x1: LEFT, x2: width - 4, y1: y(tick), y2: y(tick), class: "grid" }));
      drawn.push(node("text", { x: LEFT - 6, y: y(tick) + 4, "text-anchor": "end", class: "axis" }, plain(Number(tick.toPrecision(12)))));
    }
    for (const minutes of [15, 10, 5, 0]) {
      const at = x(end - minutes * 60_000);
      drawn.push(node("text", { x: Math.min(Math.max(at, LEFT), width - 4), y: HEIGHT - 3, "text-anchor": minutes === 15 ? "start" : minutes === 0 ? "end" : "middle", class: "axis" }, minutes ? `−${minutes} min` : "now"));
    }
    const path = (piece, field) => piece.map((p) => `${x(p[AT]).toFixed(1)},${y(p[field] * factor).toFixed(1)}`);
    for (const piece of lines) {
      const upper = path(piece, fields[fields.length - 1]);
      if (curve.band) {
        const under = path(piece, fields[0]);
        drawn.push(node("polygon", { points: [...upper, ...[...under].reverse()].join(" "), class: "band" }));
        drawn.push(node("polyline", { points: under.join(" "), class: "two" }));
      }
      drawn.push(node("polyline", { points: upper.length > 1 ? upper.join(" ") : `${upper[0]} ${x(piece[0][AT] + this.stepMs).toFixed(1)},${upper[0].split(",")[1]}`, class: "one" }));
    }
    const at = this.hair === null || this.hair === undefined ? null : begin + this.hair * (end - begin);
    const near = at === null ? null : points.reduce((best, p) => (Math.abs(p[AT] - at) < Math.abs(best[AT] - at) ? p : best));
    if (near && Math.abs(near[AT] - at) <= 2 * this.stepMs) {
      drawn.push(node("line", { x1: x(near[AT]), x2: x(near[AT]), y1: TOP, y2: HEIGHT - BOTTOM, class: "hair" }));
      read.textContent = `${ago(end - near[AT])}: ${told(near, fields, curve.unit, factor)}`;
    } else {
      read.textContent = told(points[points.length - 1], fields, curve.unit, factor);
    }
    svg.replaceChildren(...drawn);
  }
}

function told(point, fields, unit, factor) {
  return fields.some((f) => point[f] === null) ? "unknown" : `${fields.map((f) => plain(point[f] * factor)).join(" to ")} ${unit}`;
}

function ago(ms) {
  const seconds = Math.round(ms / 1000);
  return seconds < 90 ? `${seconds} s ago` : `${Math.floor(seconds / 60)} min ${seconds % 60} s ago`;
}
