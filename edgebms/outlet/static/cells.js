// The cells of one pack, or its probes, as a grid: colour and number say how far each departs from the middle one.
import { element, exact, plain, words } from "./text.js";

const SHOWN = {
  voltage: { kind: "Cell", label: "Voltage", field: "voltage_v", unit: "V", least: 0.01, number: (d) => `${signed(d * 1000, 0)}`, step: "mV", factor: 1000 },
  soc: { kind: "Cell", label: "Charge", field: "soc", unit: "%", least: 0.02, number: (d) => signed(d * 100, 1), step: "points", factor: 100 },
  soh: { kind: "Cell", label: "Health", field: "soh", unit: "%", least: 0.02, number: (d) => signed(d * 100, 1), step: "points", factor: 100 },
  temperature: { kind: "Probe", label: "Temperature", field: "temperature_c", unit: "°C", least: 2, number: (d) => signed(d, 1), step: "K", factor: 1 },
};
const HOLD = 400;

function signed(value, places) {
  const text = value.toFixed(places);
  return Number(text) === 0 ? "0" : value > 0 ? `+${text}` : text.replace("-", "−");
}

export function median(values) {
  const known = values.filter((v) => v !== null).sort((a, b) => a - b);
  if (!known.length) return null;
  const half = known.length >> 1;
  return known.length % 2 ? known[half] : (known[half - 1] + known[half]) / 2;
}

// One cell far out must not make all others look alike: the colours end at one and a half times what nine in ten keep within.
function most90(off) {
  const sizes = off.filter((d) => d !== null).map(Math.abs).sort((a, b) => a - b);
  return sizes.length ? sizes[Math.floor(0.9 * (sizes.length - 1))] : 0;
}

export class Cells {
  constructor(grid, what, legend, detail) {
    Object.assign(this, { grid, what, legend, detail, shown: "voltage", at: 0, boxes: [], columns: 1 });
    for (const [name, { label }] of Object.entries(SHOWN)) {
      const button = element("button", label);
      button.type = "button";
      button.setAttribute("role", "radio");
      button.addEventListener("click", () => { this.shown = name; this.draw(); });
      button.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        const names = Object.keys(SHOWN);
        this.shown = names[(names.indexOf(this.shown) + by + names.length) % names.length];
        this.draw();
        what.children[names.indexOf(this.shown)].focus();
      });
      what.append(button);
    }
    new ResizeObserver(() => this.draw()).observe(grid);
    grid.addEventListener("keydown", (event) => this.move(event));
    grid.addEventListener("focusin", (event) => this.point(event.target));
    grid.addEventListener("pointerover", (event) => this.point(event.target));
    grid.addEventListener("click", (event) => this.point(event.target));
  }

  // pack: { head, cells, cellsAt, decision }
  show(pack) {
    this.pack = pack;
    this.draw();
  }

  draw() {
    const { pack } = this;
    if (!pack) return;
    [...this.what.children].forEach((button, i) => {
      const on = Object.keys(SHOWN)[i] === this.shown;
      button.setAttribute("aria-checked", on);
      button.tabIndex = on ? 0 : -1;
    });
    const view = SHOWN[this.shown], probes = view.kind === "Probe";
    const count = pack.cells ? pack.cells[view.field].length : probes ? pack.head.probes : pack.head.cells;
    this.build(count, this.shown);
    const values = pack.cells ? pack.cells[view.field] : Array(count).fill(null);
    const middle = median(values);
    const off = values.map((v) => (v === null || middle === null ? null : v - middle));
    const reach = Math.max(view.least, 1.5 * most90(off));
    const known = values.filter((v) => v !== null);
    const least = Math.min(...known), most = Math.max(...known);
    const alarmed = new Set((pack.decision?.alerts ?? []).map((a) => (probes ? a.probe : a.cell)));
    const dense = count > 128;
    this.boxes.forEach((box, i) => {
      const value = values[i], away = off[i];
      const low = value !== null && value === least && least < most, high = value !== null && value === most && least < most;
      box.className = "cell" + (value === null ? " nil" : "") + (low ? " least" : "") + (high ? " most" : "") + (alarmed.has(i + 1) ? " alarmed" : "");
      const mark = alarmed.has(i + 1) ? "!" : low ? "▼" : high ? "▲" : "";
      box.firstChild.textContent = dense ? mark : `${i + 1}${mark ? ` ${mark}` : ""}`;
      box.lastChild.textContent = dense ? "" : value === null ? "?" : view.number(away);
      const share = away === null ? 0 : Math.min(Math.abs(away) / reach, 1);
      box.style.background = value === null ? "" : share < 0.02 ? "var(--mid)" : `rgba(var(${away < 0 ? "--low" : "--high"}), ${(0.08 + 0.62 * share).toFixed(3)})`;
      exact(box, value);
      box.setAttribute("aria-label", this.describe(i));
    });
    const ago = pack.cells ? `; read ${Math.max(0, Math.round(pack.ageOf(pack.cellsAt) / 1000))} s ago` : "";
    this.legend.textContent = !count
      ? "This pack has none of them on its bus."
      : !pack.cells
      ? "Their values have not come yet."
      : middle === null
        ? `Not known of any cell${ago}.`
        : `Middle ${view.kind.toLowerCase()} ${view.unit === "%" ? `${plain(middle * 100)} %` : `${plain(middle)} ${view.unit}`}; numbers are ${view.step} above (orange) or below it (blue), the deepest colour is ${plain(reach * view.factor)} ${view.step} or more. ▼ lowest, ▲ highest, ! alert, ? not known${ago}.`;
    if (this.pointed !== undefined && this.pointed < count) this.detail.textContent = this.describe(this.pointed);
  }

  build(count, shown) {
    const side = count > 128 ? 22 : count > 48 ? 44 : 58;
    this.grid.style.setProperty("--side", `${side}px`);
    this.arrange(count, side);
    this.grid.classList.toggle("dense", count > 128);
    if (this.boxes.length === count && this.built === shown) return;
    this.built = shown;
    const row = element("div");
    row.setAttribute("role", "row");
    this.boxes = Array.from({ length: Math.min(count, HOLD) }, (_, i) => {
      const box = element("div");
      box.setAttribute("role", "gridcell");
      box.dataset.cell = i + 1;
      box.tabIndex = i === 0 ? 0 : -1;
      box.append(element("small"), element("span"));
      return box;
    });
    row.append(...this.boxes);
    this.grid.replaceChildren(row);
    this.at = 0;
    this.pointed = undefined;
    this.detail.textContent = "";
  }

  // As many columns as there is room for, or a few less where that fills the last row.
  arrange(count, side) {
    const most = Math.max(1, Math.floor((this.grid.clientWidth + 3) / (side + 3)));
    let best = Math.min(most, count);
    const left = (n) => (n - (count % n)) % n;
    for (let n = best; n >= 0.6 * most; n--) if (left(n) < left(best)) best = n;
    this.columns = best;
    this.grid.style.setProperty("--columns", best);
  }

  describe(i) {
    const { cells } = this.pack, { kind } = SHOWN[this.shown];
    if (!cells) return `${kind} ${i + 1}: not known yet`;
    const standing = (this.pack.decision?.alerts ?? []).filter((a) => (kind === "Probe" ? a.probe : a.cell) === i + 1);
    const alerts = standing.map((a) => `${a.level}: ${words(a.hazard)}`);
    if (kind === "Probe") {
      const degrees = cells.temperature_c[i];
      return [`Probe ${i + 1}: ${degrees === null ? "unknown" : `${plain(degrees)} °C`}`, ...alerts].join(", ");
    }
    const volts = cells.voltage_v[i], soc = cells.soc[i], soh = cells.soh[i];
    return [`Cell ${i + 1}: ${volts === null ? "voltage unknown" : `${plain(volts)} V`}`,
      soc === null ? "charge unknown" : `charge ${plain(soc * 100)} %`,
      soh === null ? "health unknown" : `health ${plain(soh * 100)} %`, ...alerts].join(", ");
  }

  point(target) {
    const box = target.closest?.(".cell");
    if (!box) return;
    this.pointed = Number(box.dataset.cell) - 1;
    this.detail.textContent = this.describe(this.pointed);
  }

  move(event) {
    const wide = this.columns;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide, Home: -this.at, End: this.boxes.length - 1 - this.at }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    const to = this.at + by;
    if (to < 0 || to >= this.boxes.length) return;
    this.boxes[this.at].tabIndex = -1;
    this.at = to;
    this.boxes[to].tabIndex = 0;
    this.boxes[to].focus();
  }
}
