// The chosen point: what it is, where its clocks, energy and area go, and its layers on a roofline.

// Stalls by cause where the rung tells causes.
const CAUSES = COLUMNS.map((c) => c.name).filter((name) => /^stall_.+_cycles$/.test(name));
const PARTS = [
  { title: "Clocks", total: "cycles", parts: ["compute_cycles", ...(CAUSES.length ? CAUSES : ["stall_cycles"])] },
  { title: "Energy", total: "energy_pj.total", prefix: "energy_pj." },
  { title: "Area", total: "area_um2.total", prefix: "area_um2." },
];

// A table of parts with bars: readable as text, printed as drawn.
function breakdown(i, spec) {
  const total = BY_NAME.get(spec.total);
  if (!total || total.at(i) === null) return null;
  const parts = spec.parts
    ? spec.parts.map((name) => BY_NAME.get(name)).filter(Boolean)
    : COLUMNS.filter((c) => c.name.startsWith(spec.prefix) && c !== total);
  if (!parts.length) return null;
  const rows = parts.filter((c) => c.at(i) !== null).map((c, k) => {
    const share = total.at(i) ? c.at(i) / total.at(i) : 0;
    const width = Math.max(0, Math.min(1, share)) * 120;
    const bar = draw("svg", { class: "bar", width: 122, height: 12, "aria-hidden": "true" },
      draw("rect", { x: 0.5, y: 0.5, width: 121, height: 11, class: "track" }),
      draw("rect", { x: 1, y: 1, width, height: 10, fill: DATA.palette[k % (DATA.palette.length - 1)] }));
    return make("tr", {}, make("th", { scope: "row" }, c.label.replace(/^[^,]*, /, "")), make("td", {}, c.show(i)),
      make("td", {}, `${(share * 100).toFixed(1)} %`), make("td", {}, bar));
  });
  return make("table", { class: "parts" },
    make("caption", {}, `${spec.title}: ${total.show(i)}${total.unit ? ` ${total.unit}` : ""}`), make("tbody", {}, rows));
}

function details(i) {
  const place = document.getElementById("details");
  const values = CHOICES.filter((c) => c.raw(i) !== null && c.raw(i) !== "" && c.name !== "scheme.linear");
  const main = ["seconds", "utilization", "power_w", "edp_pj_s", "dram_gb_per_s", "weight_bits"].map((n) => BY_NAME.get(n)).filter(Boolean);
  const item = (c) => make("div", {}, make("dt", {}, c.label), make("dd", {}, c.numeric && c.unit ? `${c.show(i)} ${c.unit}` : c.show(i)));
  place.replaceChildren(
    make("dl", {}, values.map(item), main.filter((c) => c.at(i) !== null).map(item), ACCURACY.filter((c) => c.at(i) !== null).map(item)),
    make("div", { class: "row" }, PARTS.map((spec) => breakdown(i, spec)).filter(Boolean)));
  roofline(i);
}

// Layers against what the array and the DRAM allow: multiply-accumulates per second and per byte.
function roofline(i) {
  const place = document.getElementById("roofline");
  const layers = DATA.layers[i];
  place.replaceChildren();
  if (!layers || !layers.length) {
    const kept = Object.keys(DATA.layers).length;
    const why = kept
      ? `Layers are kept for ${kept.toLocaleString("en")} points, those on a Pareto front first; this is not one of them.`
      : "This report holds no layers: its chips or models were not at hand when it was written.";
    place.append(make("p", { class: "note" }, `${why} "bitlathe simulate" shows any point's layers.`));
    return;
  }
  const clock = BY_NAME.get("cycles").at(i) / BY_NAME.get("seconds").raw(i);
  const bandwidth = BY_NAME.get("dram_gb_per_s")?.at(i) * 1e9;
  const total = layers.reduce((sum, l) => sum + l[1] * l[4], 0);
  const rows = layers.filter((l) => l[4] > 0 && l[2] > 0).map(([name, count, macs, bytes, clocks, stalls, utilization, energy]) => ({
    name, count, macs, bytes, clocks, stalls, utilization, energy,
    x: bytes ? macs / bytes : Infinity,
    y: ((macs / clocks) * clock) / 1e9,
    roof: utilization ? ((macs / (utilization * clocks)) * clock) / 1e9 : NaN,
    share: (count * clocks) / total,
  }));
  const chart = rows.filter((r) => Number.isFinite(r.x));
  if (chart.length && bandwidth > 0) place.append(rooflineChart(chart, bandwidth / 1e9));
  place.append(layerTable(rows));
}

function rooflineChart(rows, bandwidth) {
  const width = Math.max(420, Math.min(760, document.getElementById("roofline").clientWidth || 620)), height = 380;
  const roofs = [...new Map(rows.filter((r) => r.roof).map((r) => [r.roof.toPrecision(3), r.roof])).values()].sort((a, b) => b - a);
  const top = roofs[0] || Math.max(...rows.map((r) => r.y));
  const box = { left: 70, right: width - 14, top: 14, bottom: height - 46 };
  const knee = top / bandwidth;
  const sx = scale(Math.min(knee / 4, ...rows.map((r) => r.x)), Math.max(knee * 4, ...rows.map((r) => r.x)), true, box.left, box.right);
  const sy = scale(Math.min(top / 20, ...rows.map((r) => r.y)), top * 1.3, true, box.bottom, box.top);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": "Roofline: layers against the array's and the DRAM's limits; the table below has the same figures." });
  axes(svg, box, sx, sy, "multiply-accumulates per DRAM byte", "billion multiply-accumulates per second");
  const inside = (v) => Math.min(Math.max(v, sx.low), sx.high);
  const start = Math.max(sx.low, sy.low / bandwidth);
  svg.append(draw("path", { class: "roof", d: `M${sx.map(start)} ${sy.map(start * bandwidth)}L${sx.map(inside(knee))} ${sy.map(inside(knee) * bandwidth)}` }));
  const mid = Math.sqrt(start * inside(knee));
  const slope = (Math.atan2(sy.map(knee * bandwidth) - sy.map(start * bandwidth), sx.map(knee) - sx.map(start)) * 180) / Math.PI;
  svg.append(text(sx.map(mid), sy.map(mid * bandwidth) - 6, `DRAM ${number(bandwidth)} GB/s`, {
    "text-anchor": "middle", transform: `rotate(${slope} ${sx.map(mid)} ${sy.map(mid * bandwidth) - 6})` }));
  for (const roof of roofs) svg.append(draw("path", { class: "roof", d: `M${sx.map(inside(roof / bandwidth))} ${sy.map(roof)}H${box.right}` }));
  const groups = [];
  for (const r of rows.slice().sort((a, b) => b.share - a.share)) {
    const x = sx.map(r.x), y = sy.map(r.y), radius = 4 + 14 * Math.sqrt(r.share);
    svg.append(draw("circle", { cx: x, cy: y, r: radius, class: "layer" }, draw("title", {}, `${r.name}: ${(r.share * 100).toFixed(1)} % of the clocks`)));
    const near = groups.find((g) => Math.hypot(g.x - x, g.y - y) < 10);
    if (near) near.names.push(r.name);
    else groups.push({ x, y, radius, names: [r.name] });
  }
  const taken = groups.map((g) => ({ left: g.x - g.radius, right: g.x + g.radius, top: g.y - g.radius, bottom: g.y + g.radius }));
  for (let k = 0; k <= 60; k++) {
    const v = start * (inside(knee) / start) ** (k / 60), [x, y] = [sx.map(v), sy.map(v * bandwidth)];
    taken.push({ left: x - 2, right: x + 2, top: y - 2, bottom: y + 2 });
  }
  for (const roof of roofs) {
    const y = sy.map(roof);
    taken.push({ left: sx.map(inside(roof / bandwidth)), right: box.right, top: y - 1, bottom: y + 1 });
  }
  roofs.forEach((roof) => {
    const words = `array ${number(roof)}`, half = words.length * 3.3;
    const places = [];
    for (const dy of [-5, 15, -18, 28]) for (let x = box.right - half; x > sx.map(inside(roof / bandwidth)) + half; x -= 12) places.push({ x, y: sy.map(roof) + dy });
    const place = places.find((p) => free(around(p, half), taken, box));
    if (!place) return;
    taken.push(around(place, half));
    svg.append(text(place.x, place.y, words, { "text-anchor": "middle" }));
  });
  nameLayers(svg, groups, box, taken);
  return make("figure", {}, svg, make("figcaption", {}, "A circle is a layer, its area the layer's share of all clocks. Ceilings: the array at the layers' formats, and DRAM."));
}

const around = (p, half) => ({ left: p.x - half, right: p.x + half, top: p.y - 10, bottom: p.y + 3 });
const free = (r, taken, box) => r.left >= box.left && r.right <= box.right && r.top >= box.top && r.bottom <= box.bottom &&
  taken.every((t) => r.right < t.left || r.left > t.right || r.bottom < t.top || r.top > t.bottom);

// Names beside the circles: each at the first place that is free, with a line to its circle.
function nameLayers(svg, groups, box, taken) {
  for (const g of groups) {
    const words = g.names.slice(0, 3).map(short).join(", ") + (g.names.length > 3 ? ` and ${g.names.length - 3} more` : "");
    const half = words.length * 3.1 + 2;
    const places = [];
    for (const step of [14, 30, 46, 62, 78, 94, 110]) {
      for (const shift of [0, -1, 1]) places.push({ x: g.x + shift * half, y: g.y + g.radius + step });
      places.push({ x: g.x, y: g.y - g.radius - step + 8 });
    }
    const place = places.find((p) => free(around(p, half), taken, box));
    if (!place) continue;
    taken.push(around(place, half));
    const end = place.y > g.y ? place.y - 10 : place.y + 4;
    svg.append(draw("line", { x1: g.x, y1: g.y, x2: place.x, y2: end, class: "leader" }));
    svg.append(text(place.x, place.y, words, { "text-anchor": "middle", class: "layername" }));
  }
}

const short = (name) => (name.length > 24 ? `${name.slice(0, 22)}\u2026` : name);

function layerTable(rows) {
  const heads = ["layer", "count", "MACs", "DRAM bytes", "clocks", "stalled", "share of clocks", "utilisation", "energy (µJ)", "bound by"];
  return make("div", { class: "wide" }, make("table", { class: "layers" },
    make("thead", {}, make("tr", {}, heads.map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, rows.map((r) => make("tr", {}, make("th", { scope: "row" }, r.name),
      [r.count, r.macs, r.bytes, r.clocks, r.stalls].map((v) => make("td", {}, number(v))),
      make("td", {}, `${(r.share * 100).toFixed(1)} %`), make("td", {}, `${(r.utilization * 100).toFixed(1)} %`),
      make("td", {}, number(r.energy / 1e6)), make("td", {}, r.stalls > 0 ? "memory" : "array"))))));
}
