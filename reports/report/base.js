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
      WORKLOADS.push((parts.length ? parts : columns).map((c) => c.show(i)).join(", "));
    }
    WORKLOAD_OF[i] = known.get(key);
  }
}

// Columns that name a point, for tooltips and announcements.
const NAMING = CHOICES.filter((c) => c.varies && c.name !== "scheme.linear");
const nameOf = (i) =>
  (NAMING.length ? NAMING : CHOICES).map((c) => (c.numeric ? `${c.label} ${c.show(i)}` : c.show(i))).join(", ");

function announce(message) {
  document.getElementById("announce").textContent = message;
}

function download(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  make("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// Save a chart as it stands, styles included.
function saveSvg(svg, name) {
  const copy = svg.cloneNode(true);
  copy.setAttribute("xmlns", SVG);
  copy.prepend(draw("style", {}, document.querySelector("style").textContent));
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

// Axes with grid, ticks and titles.
function axes(svg, box, sx, sy, xTitle, yTitle) {
  const group = draw("g", { class: "axes" });
  for (const v of sx.ticks) {
    const x = sx.map(v);
    group.append(draw("line", { x1: x, x2: x, y1: box.top, y2: box.bottom }));
    group.append(text(x, box.bottom + 15, number(v), { "text-anchor": "middle" }));
  }
  for (const v of sy.ticks) {
    const y = sy.map(v);
    group.append(draw("line", { x1: box.left, x2: box.right, y1: y, y2: y }));
    group.append(text(box.left - 6, y + 4, number(v), { "text-anchor": "end" }));
  }
  group.append(draw("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }));
  group.append(text((box.left + box.right) / 2, box.bottom + 34, xTitle, { "text-anchor": "middle", class: "title" }));
  const middle = (box.top + box.bottom) / 2;
  group.append(text(14, middle, yTitle, { "text-anchor": "middle", class: "title", transform: `rotate(-90 14 ${middle})` }));
  svg.append(group);
}

// Outlines of markers around (x, y) with radius r.
const SHAPES = [
  (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  (x, y, r) => `M${x - r * 0.9} ${y - r * 0.9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}Z`,
  (x, y, r) => `M${x} ${y - r * 1.15}l${r * 1.1} ${r * 2}h${-2.2 * r}Z`,
  (x, y, r) => `M${x} ${y - r * 1.25}l${r * 1.25} ${r * 1.25}l${-r * 1.25} ${r * 1.25}l${-r * 1.25} ${-r * 1.25}Z`,
  (x, y, r) => `M${x} ${y + r * 1.15}l${r * 1.1} ${-r * 2}h${-2.2 * r}Z`,
  (x, y, r) => `M${x - r * 0.4} ${y - r * 1.2}h${r * 0.8}v${r * 0.8}h${r * 0.8}v${r * 0.8}h${-r * 0.8}v${r * 0.8}h${-r * 0.8}v${-r * 0.8}h${-r * 0.8}v${-r * 0.8}h${r * 0.8}Z`,
  (x, y, r) => `M${x - r * 1.15} ${y}l${2 * r} ${-r * 1.1}v${2.2 * r}Z`,
  (x, y, r) => `M${x + r * 1.15} ${y}l${-2 * r} ${-r * 1.1}v${2.2 * r}Z`,
];
const OTHER = DATA.palette[DATA.palette.length - 1];
const MAX_SERIES = 14;

// Colour and shape of a column's values: both differ, so that neither is needed alone.
function seriesOf(column) {
  const distinct = column ? column.distinct() : [null];
  const colours = DATA.palette.length - 1;
  const few = distinct.length <= MAX_SERIES ? distinct : distinct.slice(0, MAX_SERIES - 1);
  const series = few.map((value, k) => ({
    value,
    name: column ? (column.numeric ? number(value * column.scale) : value) || "(none)" : "points",
    colour: DATA.palette[k % colours],
    shape: SHAPES[k % SHAPES.length],
  }));
  if (few.length < distinct.length) {
    series.push({ value: undefined, name: `${distinct.length - few.length} others`, colour: OTHER, shape: SHAPES[0] });
  }
  const place = new Map(few.map((value, k) => [value, k]));
  return { series, of: (i) => (column ? place.get(column.raw(i)) ?? series.length - 1 : 0) };
}
