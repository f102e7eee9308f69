// The chosen point: what it is, where its clocks, energy and area go, and its layers on a roofline.

// Stalls by cause where the rung tells causes.
const CAUSES = COLUMNS.map((c) => c.name).filter((name) => /^stall_.+_cycles$/.test(name));
const PARTS = [
  { title: "Clocks", total: "cycles", parts: ["compute_cycles", ...(CAUSES.length ? CAUSES : ["stall_cycles"])] },
  { title: "Energy", total: "energy_pj.total", prefix: "energy_pj." },
  { title: "Area", total: "area_um2.total", prefix: "area_um2." },
];

// A row of a table of parts: words, figure, share, and the share as a bar.
function partRow(words, shown, share, k) {
  const width = Math.max(0, Math.min(1, share)) * 120;
  const bar = draw("svg", { class: "bar", width: 122, height: 12, "aria-hidden": "true" },
    draw("rect", { x: 0.5, y: 0.5, width: 121, height: 11, class: "track" }),
    draw("rect", { x: 1, y: 1, width, height: 10, fill: DATA.palette[k % DATA.palette.length] }));
  return make("tr", {}, make("th", { scope: "row" }, words), make("td", {}, shown), make("td", {}, percent(share)), make("td", {}, bar));
}

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
    return partRow(c.label.replace(/^[^,]*, /, ""), c.show(i), share, k);
  });
  return make("table", { class: "parts" },
    make("caption", {}, `${spec.title}: ${total.show(i)}${total.unit ? ` ${total.unit}` : ""}`), make("tbody", {}, rows));
}

function details(i) {
  const place = document.getElementById("details");
  const values = CHOICES.filter((c) => says(c, i) && c.name !== "scheme.linear");
  const main = ["seconds", "utilization", "power_w", "edp_pj_s", "tokens_per_second", "time_to_first_token_s", "energy_per_token_pj", "model_flops_utilization", "dram_gb_per_s", "weight_bits"].map((n) => BY_NAME.get(n)).filter(Boolean);
  const item = (c) => make("div", {}, make("dt", {}, c.label), make("dd", {}, c.numeric && c.unit ? `${c.show(i)} ${c.unit}` : c.show(i)));
  place.replaceChildren(
    make("dl", {}, values.map(item), main.filter((c) => c.at(i) !== null).map(item), ACCURACY.filter((c) => c.at(i) !== null).map(item)),
    make("div", { class: "row" }, PARTS.map((spec) => breakdown(i, spec)).filter(Boolean)));
  roofline(i);
  mappings(i);
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
      : "This report holds no layers: its rows came without them.";
    place.append(make("p", { class: "note" }, `${why} "bitlathe simulate" shows any point's layers.`));
    return;
  }
  const clock = BY_NAME.get("cycles").at(i) / BY_NAME.get("seconds").raw(i);
  const bandwidth = BY_NAME.get("dram_gb_per_s")?.at(i) * 1e9;
  const total = layers.reduce((sum, l) => sum + l[1] * l[4], 0);
  const nests = layersOf(i).map((l) => l.nest);
  const rows = layers.map((l, k) => [...l, nests[k]]).filter((l) => l[4] > 0 && l[2] > 0).map(([name, count, macs, bytes, clocks, stalls, utilization, energy, nest]) => ({
    name, count, macs, bytes, clocks, stalls, utilization, energy,
    bound: boundBy(clocks, nest) ?? (stalls > 0 ? "memory" : "array"),
    x: bytes ? macs / bytes : Infinity,
    y: ((macs / clocks) * clock) / 1e9,
    roof: utilization ? ((macs / (utilization * clocks)) * clock) / 1e9 : NaN,
    share: (count * clocks) / total,
  }));
  const chart = rows.filter((r) => Number.isFinite(r.x));
  if (chart.length && bandwidth > 0) place.append(rooflineChart(chart, bandwidth / 1e9));
  place.append(layerTable(rows));
}

// The ceilings: DRAM's slope up to the highest array, and each array's level from there on.
function ceilings(rows, bandwidth, sx, sy, box) {
  const roofs = roofsOf(rows), knee = roofs[0] / bandwidth;
  const inside = (v) => Math.min(Math.max(v, sx.low), sx.high);
  const start = Math.max(sx.low, sy.low / bandwidth), end = inside(knee);
  const slope = [[start, start * bandwidth], [end, end * bandwidth]].map(([x, y]) => [sx.map(x), sy.map(y)]);
  const levels = roofs.map((roof) => ({ roof, from: sx.map(inside(roof / bandwidth)), to: box.right, y: sy.map(roof) }));
  return { slope, levels };
}

const roofsOf = (rows) => {
  const found = [...new Map(rows.filter((r) => r.roof).map((r) => [r.roof.toPrecision(3), r.roof])).values()];
  return found.length ? found.sort((a, b) => b - a) : [Math.max(...rows.map((r) => r.y))];
};

function rooflineChart(rows, bandwidth) {
  const width = PAPER || Math.max(420, Math.min(760, document.getElementById("roofline").clientWidth || 620)), height = 400;
  const top = roofsOf(rows)[0], knee = top / bandwidth;
  const room = plot(width, height, "billion multiply-accumulates per second, log scale",
    [Math.min(top / 20, ...rows.map((r) => r.y)), top * 1.6, true]);
  const { box, sy } = room;
  const sx = scale(Math.min(knee / 4, ...rows.map((r) => r.x)), Math.max(knee * 4, ...rows.map((r) => r.x)), true, box.left, box.right);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
    "aria-label": "Roofline: layers against the array's and the DRAM's limits; the table below has the same figures." });
  axes(svg, room, sx, "multiply-accumulates per DRAM byte, log scale");
  const { slope, levels } = ceilings(rows, bandwidth, sx, sy, box);
  svg.append(draw("path", { class: "roof", d: `M${slope[0].join(" ")}L${slope[1].join(" ")}` }));
  for (const level of levels) svg.append(draw("path", { class: "roof", d: `M${level.from} ${level.y}H${level.to}` }));
  const groups = circles(svg, rows, sx, sy);
  const taken = groups.map((g) => ({ left: g.x - g.radius, right: g.x + g.radius, top: g.y - g.radius, bottom: g.y + g.radius }));
  taken.push(...alongRoofs(slope, levels));
  nameLayers(svg, groups, box, taken);
  nameRoofs(svg, bandwidth, slope, levels, box, taken);
  const skips = rows.some((r) => r.y > r.roof * 1.001) ? " Layers above the array's ceiling skip terms, all of which it counts." : "";
  return make("figure", {}, svg, make("figcaption", {}, `A circle is a layer, its area the layer's share of all clocks, which its name tells. Ceilings: the array at the layers' formats, and DRAM.${skips}`));
}

// A circle a layer; those at one place share a name, the heaviest first.
function circles(svg, rows, sx, sy) {
  const groups = [];
  for (const r of rows.slice().sort((a, b) => b.share - a.share)) {
    const x = sx.map(r.x), y = sy.map(r.y), radius = 4 + 14 * Math.sqrt(r.share);
    svg.append(draw("circle", { cx: x, cy: y, r: radius, class: "layer" }, draw("title", {}, `${r.name}: ${(r.share * 100).toFixed(1)} % of the clocks`)));
    const near = groups.find((g) => Math.hypot(g.x - x, g.y - y) < 10);
    if (near) {
      near.names.push(r.name);
      near.share += r.share;
    } else groups.push({ x, y, radius, names: [r.name], share: r.share });
  }
  return groups.sort((a, b) => b.share - a.share);
}

// Boxes that the ceilings cover.
function alongRoofs([[x0, y0], [x1, y1]], levels) {
  const found = levels.map(({ from, to, y }) => ({ left: from, right: to, top: y - 1, bottom: y + 1 }));
  for (let k = 0; k <= 60; k++) {
    const x = x0 + ((x1 - x0) * k) / 60, y = y0 + ((y1 - y0) * k) / 60;
    found.push({ left: x - 3, right: x + 3, top: y - 3, bottom: y + 3 });
  }
  return found;
}

const around = (p, half) => ({ left: p.x - half, right: p.x + half, top: p.y - 10, bottom: p.y + 3 });
const free = (r, taken, box) => r.left >= box.left && r.right <= box.right && r.top >= box.top && r.bottom <= box.bottom &&
  taken.every((t) => r.right < t.left || r.left > t.right || r.bottom < t.top || r.top > t.bottom);

// Names of layers, the heaviest first, each at the free place nearest to its circle.
function nameLayers(svg, groups, box, taken) {
  for (const g of groups) {
    const more = g.names.length > 3 ? ` and ${g.names.length - 3} more` : "";
    const words = `${g.names.slice(0, 3).map(short).join(", ")}${more} ${(g.share * 100).toFixed(g.share < 0.1 ? 1 : 0)} %`;
    const half = words.length * 3.2 + 2, far = (p) => Math.hypot((p.x - g.x) / 2, p.y - g.y);
    const places = [];
    for (let y = box.top + 12; y < box.bottom - 3; y += 8) {
      for (let x = box.left + half; x <= box.right - half; x += 12) places.push({ x, y });
      if (g.x - half > box.left && g.x + half < box.right) places.push({ x: g.x, y });
    }
    const place = places.sort((a, b) => far(a) - far(b)).find((p) => free(around(p, half), taken, box));
    if (!place) continue;
    taken.push(around(place, half));
    const end = place.y > g.y ? place.y - 10 : place.y + 4;
    svg.append(draw("line", { x1: g.x, y1: g.y, x2: Math.min(Math.max(g.x, place.x - half), place.x + half), y2: end, class: "leader" }));
    svg.append(text(place.x, place.y, words, { "text-anchor": "middle", class: "layername" }));
  }
}

// What the ceilings are, beside their lines.
function nameRoofs(svg, bandwidth, [[x0, y0], [x1, y1]], levels, box, taken) {
  const put = (words, places) => {
    const half = words.length * 4, place = places(half).find((p) => free(around(p, half), taken, box));
    if (!place) return;
    taken.push(around(place, half));
    svg.append(text(place.x, place.y, words, { "text-anchor": "middle" }));
  };
  for (const { roof, from, y } of levels) {
    put(`array ${number(roof)}`, (half) => [-5, 15, -18, 28].flatMap((dy) =>
      Array.from({ length: 40 }, (_, k) => ({ x: box.right - half - 12 * k, y: y + dy })).filter((p) => p.x > from + half)));
  }
  put(`DRAM ${number(bandwidth)} GB/s`, (half) => Array.from({ length: 61 }, (_, k) => k / 60)
    .flatMap((t) => [-1, 1].map((side) => ({ x: x0 + (x1 - x0) * t + side * (half + 8), y: y0 + (y1 - y0) * t + side * 6 }))));
}

const short = (name) => (name.length > 24 ? `${name.slice(0, 22)}\u2026` : name);

function layerTable(rows) {
  const heads = ["layer", "count", "MACs", "DRAM bytes", "clocks", "stalled", "share of clocks", "utilization", "energy (µJ)", "bound by"];
  return make("div", { class: "wide" }, make("table", { class: "layers" },
    make("thead", {}, make("tr", {}, heads.map((h) => make("th", { scope: "col" }, h)))),
    make("tbody", {}, rows.map((r) => make("tr", {}, make("th", { scope: "row" }, r.name),
      [r.count, r.macs, r.bytes, r.clocks, r.stalls].map((v) => make("td", {}, number(v))),
      make("td", {}, `${(r.share * 100).toFixed(1)} %`), make("td", {}, `${(r.utilization * 100).toFixed(1)} %`),
      make("td", {}, number(r.energy / 1e6)), make("td", {}, r.bound))))));
}
