// Data of the page and small helpers. Names are data: they reach the document as text only.

const DATA = JSON.parse(document.getElementById("data").textContent);
const N = DATA.count;
const SVG = "http://www.w3.org/2000/svg";

// Make an element: attributes, then children (strings become text).
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity));
  return node;
}

function draw(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat(Infinity));
  return node;
}

const text = (x, y, content, attributes = {}) => draw("text", { x, y, ...attributes }, content);

// A column: `at(i)` is the shown value (number in its unit, or name), `key(i)` sorts and groups.
class Column {
  constructor(facts) {
    Object.assign(this, facts);
    this.numeric = !facts.levels;
    this.constant = facts.values.length === 1 && N !== 1;
    this.full = this.unit ? `${this.label} (${this.unit})` : this.label;
  }
  raw(i) {
    const value = this.values[this.constant ? 0 : i];
    return this.numeric ? value : this.levels[value];
  }
  at(i) {
    const value = this.raw(i);
    return this.numeric && value !== null ? value * this.scale : value;
  }
  show(i) {
    const value = this.at(i);
    return this.numeric ? number(value) : value;
  }
  get varies() {
    return !this.constant && N > 1;
  }
  // distinct values in order: numbers upwards, names as they appear
  distinct() {
    if (!this.found) {
      const seen = new Set();
      for (let i = 0; i < (this.constant ? Math.min(N, 1) : N); i++) seen.add(this.raw(i));
      this.found = [...seen];
      if (this.numeric) this.found.sort((a, b) => a - b);
    }
    return this.found;
  }
}

const COLUMNS = DATA.columns.map((facts) => new Column(facts));
const BY_NAME = new Map(COLUMNS.map((column) => [column.name, column]));
const CHOICES = COLUMNS.filter((column) => !column.result);
const ACCURACY = COLUMNS.filter((column) => column.accuracy);

// A number for people: four digits, thousands separated, powers of ten at the far ends.
function number(value) {
  if (value === null || value === undefined) return "";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e13)) return Number(value.toPrecision(4)).toExponential();
  if (size >= 1000) return Math.round(value).toLocaleString("en");
  return String(Number(value.toPrecision(4)));
}

// What a row has of some columns, in words; nothing of those it has no value of.
const says = (c, i) => c.raw(i) !== null && c.raw(i) !== "";
const named = (columns, i) =>
  columns.filter((c) => says(c, i)).map((c) => (c.numeric ? `${c.label} ${c.show(i)}` : c.show(i))).join(", ");

// The points that answer the same question share a workload.
const WORKLOAD_OF = new Int32Array(N);
const WORKLOADS = [];
{
  const columns = DATA.workload.map((name) => BY_NAME.get(name));
  const known = new Map();
  for (let i = 0; i < N; i++) {
    const key = JSON.stringify(columns.map((column) => column.raw(i)));
    if (!known.has(key)) {
      known.set(key, WORKLOADS.length);
      const parts = columns.filter((c) => c.varies);
      WORKLOADS.push(named(parts.length ? parts : columns, i));
    }
    WORKLOAD_OF[i] = known.get(key);
  }
}

// Columns that name a point, for filters, tooltips and announcements: those that vary and are not
// said by others. A context may follow from the model, formats from the chip and its main format.
const follows = (c, names) => {
  const from = names.map((name) => BY_NAME.get(name)).filter(Boolean), known = new Map();
  for (let i = 0; i < N; i++) {
    const key = JSON.stringify(from.map((other) => other.raw(i)));
    if (!known.has(key)) known.set(key, c.raw(i));
    else if (known.get(key) !== c.raw(i)) return false;
  }
  return true;
};
const SAID_BY = (c) => (c.name === "context" ? ["model"] : c.name.startsWith("scheme.") ? ["format", "arch", "model", "phase"] : null);
const NAMING = CHOICES.filter((c) => c.varies && !(SAID_BY(c) && follows(c, SAID_BY(c))));
const nameOf = (i) => named(NAMING.length ? NAMING : CHOICES, i);

function announce(message) {
  document.getElementById("announce").textContent = message;
}

function download(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Save a chart with its styles, in the light colors, which stand before all rules of @media.
function saveSvg(svg, name) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.prepend(draw("style", {}, document.querySelector("style").textContent.split("@media")[0].replace("light dark", "light")));
  download(name, "image/svg+xml", new XMLSerializer().serializeToString(copy));
}

// Ticks of a linear or logarithmic scale.
function ticks(low, high, log, count = 5) {
  const found = [];
  if (log) {
    const decades = Math.log10(high / low);
    const steps = decades < 1.3 ? [1, 2, 3, 5, 7] : decades < 2.5 ? [1, 2, 5] : decades < 4 ? [1, 3] : [1];
    const stride = Math.max(1, Math.ceil(decades / 8));
    for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) {
      if (e % stride) continue;
      for (const s of steps) found.push(s * 10 ** e);
    }
    const inside = found.filter((v) => v >= low * 0.999 && v <= high * 1.001);
    if (inside.length >= 2) return inside;
    found.length = 0;
  }
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((s) => s * power >= rough * 0.999);
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

// A scale from values to pixels, with room at both ends.
function scale(low, high, log, from, to) {
  if (log) {
    if (low === high) [low, high] = [low / 2, high * 2];
    const pad = (high / low) ** 0.06;
    [low, high] = [low / pad, high * pad];
  } else {
    if (low === high) [low, high] = [low - (Math.abs(low) / 2 || 1), high + (Math.abs(high) / 2 || 1)];
    const pad = (high - low) * 0.06;
    const floor = low >= 0 ? 0 : -Infinity;
    [low, high] = [Math.max(floor, low - pad), high + pad];
  }
  const f = log ? Math.log10 : (v) => v;
  const a = f(low), b = f(high);
  return { map: (v) => from + ((f(v) - a) / (b - a)) * (to - from), ticks: ticks(low, high, log), low, high };
}

// Characters of 12 px type that a width holds; generous, as the reader's font may be wide.
const CHARACTER = 7;

// Words in lines that a width holds.
function lines(words, width) {
  const found = [""];
  for (const word of words.split(" ")) {
    const longer = found.at(-1) ? `${found.at(-1)} ${word}` : word;
    if (longer.length * CHARACTER <= width || !found.at(-1)) found[found.length - 1] = longer;
    else found.push(word);
  }
  return found;
}

const axisTitle = (column, log) => column.full + (log ? ", log scale" : "");

// The place of a plot: under its y title, which lies above it, and right of its longest tick.
function plot(width, height, yTitle, yRange) {
  const title = lines(yTitle, width - 16);
  const box = { top: 14 + 16 * title.length, right: width - 14, bottom: height - 46 };
  const sy = scale(...yRange, box.bottom, box.top);
  box.left = 14 + CHARACTER * Math.max(3, ...sy.ticks.map((v) => number(v).length));
  return { box, sy, title };
}

// Axes with grid, ticks and titles; a tick whose words would touch those before it has none.
function axes(svg, { box, sy, title }, sx, xTitle) {
  const group = draw("g", { class: "axes" });
  let taken = -Infinity;
  for (const v of sx.ticks) {
    const x = sx.map(v), words = number(v), half = (words.length * CHARACTER) / 2;
    group.append(draw("line", { x1: x, x2: x, y1: box.top, y2: box.bottom }));
    if (x - half < taken + 6) continue;
    taken = x + half;
    group.append(text(x, box.bottom + 15, words, { "text-anchor": "middle" }));
  }
  for (const v of sy.ticks) {
    const y = sy.map(v);
    group.append(draw("line", { x1: box.left, x2: box.right, y1: y, y2: y }));
    group.append(text(box.left - 6, y + 4, number(v), { "text-anchor": "end" }));
  }
  group.append(draw("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
  group.append(text((box.left + box.right) / 2, box.bottom + 34, xTitle, { "text-anchor": "middle", class: "title" }));
  title.forEach((words, k) => group.append(text(4, 14 + 16 * k, words, { class: "title" })));
  svg.append(group);
}

// The outline of a mark of radius r, from its middle: "M x y" stands before it. A hole ends in z.
const OUTLINES = new Map();
function outline(mark, r) {
  let known = OUTLINES.get(mark);
  if (!known) OUTLINES.set(mark, (known = new Map()));
  if (!known.has(r)) {
    const from = [0, 0];
    const to = ([x, y]) => {
      const step = [x * r - from[0], y * r - from[1]].map((v) => Number(v.toFixed(2)));
      from[0] += step[0];
      from[1] += step[1];
      return step.join(" ");
    };
    known.set(r, mark.rings.map((ring, n) => {
      const path = ring.map((corner, k) => `${k ? "l" : "m"}${to(corner)}`).join("");
      to(ring[0].map((v) => v));
      return path + (n ? "z" : "Z");
    }).join(""));
  }
  return known.get(r);
}

// Marks of a column's values, the same as in the charts beside the page; what has none is "others".
function seriesOf(column) {
  if (!column) return { series: [{ name: "points", mark: DATA.marks[0] }], of: () => 0 };
  const present = new Set(column.distinct());
  const known = column.marks.filter(([value]) => present.has(value));
  const series = known.map(([value, place]) => ({
    name: (column.numeric ? number(value * column.scale) : value) || "(none)",
    mark: DATA.marks[place],
  }));
  if (known.length < present.size) series.push({ name: `${present.size - known.length} others`, mark: DATA.others });
  const place = new Map(known.map(([value], k) => [value, k]));
  return { series, of: (i) => place.get(column.raw(i)) ?? series.length - 1 };
}

// A mark beside its name.
const swatch = (mark) => draw("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" },
  draw("path", { d: `M8 8${outline(mark, 5.2)}`, fill: mark.color, class: "fore" }));

// On paper charts have the width of a column, on the screen that of their place.
let PAPER = 0;
