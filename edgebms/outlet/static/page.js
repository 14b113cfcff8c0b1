// The status page: decisions come as server-sent events and are shown as they are. All text goes in as textContent.
import { Cells } from "./cells.js";
import { Curves } from "./curves.js";
import { element, exact, plain, words } from "./text.js";

const $ = (id) => document.getElementById(id);
const SIGNS = { clear: "✓", unknown: "?", watch: "○", warning: "!", critical: "!!" };
const STATES = { clear: "clear", unknown: "seen in part", watch: "watch", warning: "warning", critical: "critical" };

const capital = (text) => text.slice(0, 1).toUpperCase() + text.slice(1);

function put(id, value, unit, place, factor = 1) {
  const where = $(id);
  exact(where, value);
  where.classList.toggle("nil", value === null);
  where.replaceChildren(value === null ? "unknown" : `${plain(value * factor)} ${unit}`);
  if (value !== null) where.title = `${value * factor} ${unit}`;
  else where.removeAttribute("title");
  if (place) where.append(" ", Object.assign(element("span", place), { className: "at" }));
}

function lines(id, texts, none) {
  const list = $(id), wanted = texts.length ? texts : [none];
  if (list.dataset.now === JSON.stringify(wanted)) return;
  list.dataset.now = JSON.stringify(wanted);
  list.replaceChildren(...wanted.map((text) => element("li", text)));
}

// ---- time: the page has a clock of its own; ages are counted on it, so that a page that hears nothing goes stale

class Time {
  constructor() { this.offsets = []; }

  // Two clocks, and the later one counts: a machine that slept must not show old values as new ones.
  static now() { return Math.max(performance.now(), Date.now() - Time.began); }

  hear(serverMs) {
    this.offsets.push(Time.now() - serverMs);
    if (this.offsets.length > 120) this.offsets.shift();
    this.offset = Math.min(...this.offsets);  // the event that came with the least delay
  }

  age(serverMs) { return Math.max(0, Time.now() - this.offset - serverMs); }
}
Time.began = Date.now() - performance.now();

const time = new Time();
const packs = new Map();
let selected = null, open = false, everOpen = false, stepMs = 2000, keptMs = 900_000;
const cells = new Cells($("cells"), $("cells-what"), $("cells-legend"), $("cells-detail"));
const curves = new Curves($("curves"));

class PackView {
  constructor(head) { Object.assign(this, { head, points: [], cells: null, decision: null, words: null }); }
  ageOf(atMs) { return time.age(atMs); }
  get age() { return this.decision ? time.age(this.atMs) : null; }
  get stale() { return this.decision !== null && this.age > this.decision.expires_ms; }
  get state() { return this.words ? this.words.state : "unknown"; }
}

function packOf(name) {
  if (!packs.has(name)) {
    packs.set(name, new PackView({ name, cells: 0, probes: 0, card: "" }));
    tabs();
  }
  return packs.get(name);
}

const handlers = {
  hello(data) {
    // whoever is not in the new list is gone; a pack that stays keeps what it shows until its next decision
    const names = data.packs.map((head) => head.name);
    for (const name of [...packs.keys()]) if (!names.includes(name)) packs.delete(name);
    for (const head of data.packs) packs.set(head.name, Object.assign(packs.get(head.name) ?? new PackView(head), { head }));
    ({ step_ms: stepMs, kept_ms: keptMs } = data);
    time.offsets = [];
    time.hear(data.now_ms);
    if (!packs.has(selected)) selected = packs.has(location.hash.slice(1)) ? location.hash.slice(1) : names[0];
    notice(data.notice);
    tabs();
    render();
  },
  beat(data) { time.hear(data.now_ms); },
  notice(data) { notice(data.text); },
  points(data) { packOf(data.pack).points = data.points; if (data.pack === selected) drawCurves(); },
  point(data) {
    const { points } = packOf(data.pack);
    points.push(data.point);
    while (points.length && data.point[0] - points[0][0] > keptMs) points.shift();
    if (data.pack === selected) drawCurves();
  },
  cells(data) { Object.assign(packOf(data.pack), { cells: data.cells, cellsAt: data.at_ms }); },
  decision(data) {
    time.hear(data.now_ms);
    const pack = packOf(data.decision.pack), before = pack.words;
    Object.assign(pack, { decision: data.decision, words: data.words, atMs: data.at_ms });
    announce(pack, before);
    if (pack.head.name === selected) render();
    if (before?.state !== data.words.state) tabs();
    clock();
  },
};

function notice(text) {
  $("notice").hidden = !text;
  $("notice").textContent = text;
}

function announce(pack, before) {
  const known = new Set((before?.alerts ?? []).map((a) => `${a.id}${a.level}`));
  const fresh = pack.words.alerts.filter((a) => !known.has(`${a.id}${a.level}`));
  if (before && fresh.length) $("announce").textContent = fresh.map((a) => `${pack.head.name}, ${a.level}: ${a.title}`).join(". ");
}

// ---- connection

function connect() {
  const source = new EventSource("/events");
  for (const [kind, handle] of Object.entries(handlers)) source.addEventListener(kind, (event) => handle(JSON.parse(event.data)));
  source.onopen = () => { open = everOpen = true; clock(); };
  source.onerror = () => {
    open = false;
    clock();
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000);  // refused: the browser would not try again
  };
}

// ---- what is shown

function tabs() {
  const list = $("packs");
  list.hidden = packs.size < 2;
  list.replaceChildren(...[...packs.values()].map((pack) => {
    const button = element("button"), on = pack.head.name === selected, mini = element("span", pack.stale ? "×" : SIGNS[pack.state]);
    button.type = "button";
    button.dataset.level = pack.state;
    mini.className = "mini";
    mini.style.color = "var(--tone)";
    button.setAttribute("role", "tab");
    button.setAttribute("aria-selected", on);
    button.setAttribute("aria-label", `${pack.head.name}: ${pack.stale ? "stale" : STATES[pack.state]}`);
    button.tabIndex = on ? 0 : -1;
    button.append(mini, pack.head.name);
    button.addEventListener("click", () => select(pack.head.name));
    button.addEventListener("keydown", (event) => {
      const names = [...packs.keys()], by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      select(names[(names.indexOf(pack.head.name) + by + names.length) % names.length]);
      list.querySelector('[aria-selected="true"]').focus();
    });
    return button;
  }));
}

function select(name) {
  selected = name;
  history.replaceState(null, "", `#${name}`);
  tabs();
  render();
  drawCurves();
  clock();
}

function drawCurves() {
  const pack = packs.get(selected);
  if (pack) curves.show(pack.points, stepMs, keptMs);
}

function render() {
  const pack = packs.get(selected);
  if (!pack) return;
  $("pack-name").textContent = pack.head.name;
  cells.show(pack);
  drawCurves();
  const { decision, words: said } = pack;
  document.body.classList.toggle("waiting", !decision);
  if (!decision) return blank(pack);
  const { measured, soc, soh, command, quality, provenance } = decision;
  headline(pack);

  put("soc", soc.pack, "%", soc.sigma === null ? "" : `± ${plain(soc.sigma * 100)} points`, 100);
  $("soc-bar").style.width = `${soc.pack === null ? 0 : soc.pack * 100}%`;
  const ranged = soc.min !== null && soc.max !== null;
  $("soc-span").style.left = `${ranged ? soc.min * 100 : 0}%`;
  $("soc-span").style.width = `${ranged ? Math.max((soc.max - soc.min) * 100, 0.5) : 0}%`;
  $("soc-more").textContent = (ranged ? `cells ${plain(soc.min * 100)} % to ${plain(soc.max * 100)} %` : "cells unknown") + `, leaning on: ${words(soc.source)}`
    + (measured.reported_soc === null ? "" : `; the BMS says ${plain(measured.reported_soc * 100)} %`);
  put("voltage", measured.voltage_v, "V");
  $("contactors").textContent = `contactors ${measured.contactors}`;
  put("current", measured.current_a, "A");
  $("flow").textContent = said.flow;
  const power = measured.voltage_v === null || measured.current_a === null ? null : measured.voltage_v * measured.current_a;
  power !== null && Math.abs(power) >= 10_000 ? put("power", power, "kW", "", 0.001) : put("power", power, "W");
  const { cell_voltage_v: volts, temperature_c: degrees } = measured;
  const at = (kind, number) => (number === null ? "" : `${kind} ${number}`);
  put("cell-min", volts.min, "V", at("cell", volts.min_cell));
  put("cell-max", volts.max, "V", at("cell", volts.max_cell));
  put("spread", volts.min === null || volts.max === null ? null : volts.max - volts.min, "mV", "", 1000);
  put("temp-min", degrees.min, "°C", at("probe", degrees.min_probe));
  put("temp-max", degrees.max, "°C", at("probe", degrees.max_probe));
  $("insulation").textContent = measured.insulation_ohm === null ? "insulation unknown" : `insulation ${plain(measured.insulation_ohm / 1000)} kΩ`;
  put("soh-capacity", soh.capacity, "%", "", 100);
  put("soh-resistance", soh.resistance, "%", "", 100);
  $("soh-more").textContent = soh.sigma === null ? "of the cell card's" : `of the cell card's; capacity ± ${plain(soh.sigma * 100)} points`;

  alerts(said.alerts);
  const { limits } = command;
  put("charge-a", limits.charge_a, "A");
  put("charge-v", limits.charge_v, "V", "and up to");
  put("discharge-a", limits.discharge_a, "A");
  put("discharge-v", limits.discharge_v, "V", "and down to");
  $("limit-reasons").replaceChildren(...limits.reasons.map((reason) => element("span", words(reason))));
  $("limit-lead").hidden = !limits.reasons.length;
  // the limits stand above already, as numbers and with what bound them
  lines("command", said.command.filter((line) => !line.startsWith("Limits:") && !line.startsWith("Bound by:")), "");
  lines("reasoning", said.reasoning, "");
  const unknown = [...said.unknown];
  if (!quality.complete) unknown.unshift("The last sweep was not complete.");
  if (!quality.clock_synchronised) unknown.push("The wall clock is not synchronised: decisions carry no time.");
  if (quality.runaway_view.saturated) unknown.push("A sensor is saturated: the runaway rule cannot see its rate.");
  if (quality.runaway_view.uncovered_cells) unknown.push(`Cells that the runaway rule cannot see: ${quality.runaway_view.uncovered_cells}`);
  lines("unknown", unknown, "Everything that this pack's profile has is known.");
  const view = quality.runaway_view.worst_s;
  $("provenance").textContent = [`Decision ${decision.seq}`, decision.time ?? "time not known", `card ${provenance.card}`,
    `state model ${provenance.state_model ?? "none"} (${words(provenance.state_student)})`, `reasoner ${words(provenance.reasoner)}`,
    view === null ? "the runaway rule sees no cell" : `the runaway rule sees at worst after ${plain(view)} s`,
    `decided in ${plain(provenance.latency_us / 1000)} ms`, `edgebms ${provenance.runtime}`].join(" · ");
  document.body.dataset.seq = decision.seq;
  document.body.dataset.pack = decision.pack;
}

// What is stale is not known: no sign of a pack that is well may stand above old values.
function headline({ stale, words: said, decision }) {
  const state = stale ? "stale" : said.state;
  $("head").dataset.state = state;
  $("sign").textContent = stale ? "×" : SIGNS[state];
  $("state-word").textContent = stale ? "stale" : STATES[state];
  $("headline").textContent = stale ? "Not known any more" : said.headline;
  $("below").textContent = stale ? `The last decision said: ${said.headline}. ${said.below}.` : said.below;
  $("deed").hidden = stale || decision.command.action === "none";
  $("deed").textContent = said.command[0];
}

function blank(pack) {
  $("head").dataset.state = "unknown";
  $("sign").textContent = "?";
  $("state-word").textContent = "no decision yet";
  $("headline").textContent = "Waiting for the first decision";
  $("below").textContent = `${pack.head.cells} cells and ${pack.head.probes} probes, none of them known yet`;
  $("deed").hidden = true;
  for (const id of ["soc", "voltage", "current", "power", "cell-min", "cell-max", "spread", "temp-min", "temp-max", "soh-capacity", "soh-resistance",
    "charge-a", "charge-v", "discharge-a", "discharge-v"]) put(id, null);
  for (const id of ["soc-more", "contactors", "flow", "insulation", "soh-more", "provenance"]) $(id).textContent = "";
  $("soc-bar").style.width = $("soc-span").style.width = "0";
  $("limit-reasons").replaceChildren();
  $("limit-lead").hidden = true;
  delete $("alerts").dataset.now;
  $("alerts").replaceChildren(element("p", "Not known yet."));
  for (const id of ["command", "reasoning", "unknown"]) lines(id, [], "Not known yet.");
  delete document.body.dataset.seq;
}

function alerts(found) {
  const place = $("alerts"), now = JSON.stringify(found);
  if (place.dataset.now === now) return;
  place.dataset.now = now;
  if (!found.length) return place.replaceChildren(element("p", "No alert stands."));
  place.replaceChildren(...found.map((alert) => {
    const box = element("article"), title = element("h3"), badge = element("span", alert.level), list = element("ul");
    box.className = "alert";
    box.dataset.level = alert.level;
    box.dataset.id = alert.id;
    badge.className = "badge";
    title.append(badge, alert.title);
    const [first, ...reasons] = alert.lines;
    list.append(...reasons.map((reason) => element("li", reason.trim())));
    const raised = element("p", capital(first.slice(first.indexOf(":") + 2)));
    raised.className = "raised";
    box.append(title, list, raised);
    return box;
  }));
}

// Runs whether or not anything comes: nothing that is old may look fresh.
function clock() {
  const pack = packs.get(selected), body = document.body.classList;
  const stale = pack?.stale ?? false, lost = everOpen && !open;
  const seconds = pack?.decision ? (pack.age / 1000).toFixed(1) : null;
  if (pack?.decision && body.contains("stale") !== stale) headline(pack);
  body.toggle("stale", stale);
  body.toggle("lost", lost);
  body.toggle("live", open && !stale && seconds !== null);
  $("stale").hidden = !stale;
  if (stale) {
    const text = `STALE: no decision for ${Math.round(pack.age / 1000)} s. What is shown is old, and its commands are void.${lost ? " The gateway does not answer." : ""}`;
    if ($("stale").textContent !== text) $("stale").textContent = text;
  }
  $("link-text").textContent = lost ? "No connection to the gateway, trying again" : !open ? "Connecting" : seconds === null ? "Connected, no decision yet"
    : stale ? `Stale, last decision ${seconds} s ago` : `Live, decision ${pack.decision.seq} came ${seconds} s ago`;
  const state = stale ? "STALE" : pack?.decision ? STATES[pack.state] : "waiting";
  document.title = `${stale ? "×" : SIGNS[pack?.state ?? "unknown"]} ${state} – ${pack?.head.name ?? ""} – edgebms`;
}

setInterval(clock, 200);
setInterval(tabsIfStale, 1000);
let wasStale = "";

function tabsIfStale() {
  const now = [...packs.values()].map((pack) => pack.stale).join();
  if (now === wasStale) return;
  wasStale = now;
  tabs();
}

connect();
