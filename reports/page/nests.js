// What binds each layer of the chosen point, and how its products are mapped.

// The resource that is busy longest: "array" or a memory, for its busiest port.
const busiest = (busy) => Object.keys(busy).reduce((best, name) => (busy[name] > busy[best] ? name : best));
const percent = (share) => `${(share * 100).toFixed(1)} %`;

const layersOf = (i) => {
  const nests = DATA.mappings.points[i] ?? [];
  return (DATA.layers[i] ?? []).map(([name, count, , , clocks], k) => ({ name, count, clocks, nest: nests[k] ?? null }));
};

// What binds a layer, with the share of its clocks in which it is busy; nothing without a mapping.
function boundBy(clocks, nest) {
  if (!nest || !clocks) return null;
  const name = busiest(nest[0]);
  return `${name} ${percent(nest[0][name] / clocks)}`;
}

let CHOSEN_LAYER = null; // its name: it stays chosen when another point is

function mappings(i) {
  const section = document.getElementById("mapping"), place = document.getElementById("nests");
  const layers = layersOf(i), mapped = layers.filter((l) => l.nest && l.clocks);
  section.hidden = !mapped.length;
  place.replaceChildren();
  if (!mapped.length) return;
  const clocks = (l) => l.count * l.clocks;
  const longest = mapped.reduce((best, l) => (clocks(l) > clocks(best) ? l : best));
  const chosen = mapped.find((l) => l.name === CHOSEN_LAYER) ?? longest;
  const list = document.getElementById("layer");
  list.replaceChildren(...mapped.map((l, k) => make("option", { value: k, selected: l === chosen }, l.name)));
  list.onchange = () => {
    CHOSEN_LAYER = mapped[list.value].name;
    nests(mapped[list.value]);
    announce(`Mapping of ${CHOSEN_LAYER}`);
  };
  document.getElementById("binds").textContent = bindsOfAll(layers, clocks);
  nests(chosen);
}

// In which share of all clocks a layer runs that each resource binds.
function bindsOfAll(layers, clocks) {
  const all = layers.reduce((sum, l) => sum + clocks(l), 0), found = new Map();
  for (const l of layers) {
    const name = l.nest && l.clocks ? busiest(l.nest[0]) : "no mapping";
    found.set(name, (found.get(name) ?? 0) + clocks(l));
  }
  const words = [...found].sort((a, b) => b[1] - a[1]).map(([name, sum]) => `${name} ${percent(sum / all)}`);
  return `What binds, in per cent of all clocks: ${words.join(", ")}.`;
}

function nests(layer) {
  const [busy, parts] = layer.nest;
  const bars = Object.entries(busy).map(([name, clocks], k) => partRow(name, number(clocks), clocks / layer.clocks, k));
  document.getElementById("nests").replaceChildren(
    make("table", { class: "parts" },
      make("caption", {}, `${layer.name}: busy in its ${number(layer.clocks)} clocks`), make("tbody", {}, bars)),
    ...parts.map((part) => nestTable(layer, part, parts.length)));
}

function nestTable(layer, [times, clocks, optimal, nest], count) {
  const [sizes, rows] = DATA.mappings.nests[nest];
  const often = times > 1 ? `, ${times.toLocaleString("en")} times` : "";
  const proven = optimal ? "" : "; the search ended at a limit";
  const said = count > 1 ? `${sizes}${often}: ${number(clocks)} clocks each` : sizes + often;
  return make("table", { class: "nest" },
    make("caption", {}, `${layer.name}, ${said}${proven}`),
    make("tbody", {}, rows.map((row) => {
      const [depth, what, detail] = DATA.mappings.rows[row];
      const head = make("th", { scope: "row", class: detail.startsWith("keeps ") ? "memory" : false }, what);
      head.style.paddingLeft = `${0.6 + 0.9 * depth}rem`;
      return make("tr", {}, head, make("td", { class: "name" }, detail));
    })));
}
