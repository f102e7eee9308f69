// A chart of points: any two numbers against each other, with the Pareto front of each workload.

const MAX_BARS = 300, MAX_BASES = 4;

function range(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const v of values) { if (v < low) low = v; if (v > high) high = v; }
  return [low, high];
}

class Scatter {
  constructor(place, preset, page) {
    this.page = page;
    this.preset = preset;
    this.shown = [];
    this.cursor = -1;
    this.title = preset.title;
    const numbers = COLUMNS.filter((c) => c.numeric);
    const id = `chart${document.querySelectorAll("figure.scatter").length}`;
    const choose = (axis, name) => {
      const list = make("select", { id: `${id}-${axis}` });
      for (const c of numbers) list.append(make("option", { value: c.name, selected: c.name === name }, c.full));
      const log = make("input", { type: "checkbox", id: `${id}-${axis}log` });
      list.addEventListener("change", () => { this.autoLog(axis); this.refresh(); });
      log.addEventListener("change", () => this.refresh());
      this[axis] = list;
      this[`${axis}log`] = log;
      return make("span", { class: "axis" }, make("label", { for: list.id }, axis), list,
        make("label", { class: "log" }, log, "log"));
    };
    this.front = make("input", { type: "checkbox", checked: true });
    this.front.addEventListener("change", () => this.refresh());
    const save = make("button", { type: "button" }, "Save SVG");
    save.addEventListener("click", () => saveSvg(this.svg, `${preset.title.toLowerCase().replaceAll(" ", "_")}.svg`));
    this.svg = draw("svg", { tabindex: 0, role: "application", "aria-label":
      `${preset.title}. Left and right arrow keys walk the points along the horizontal axis, up and down along the Pareto front, Enter selects.` });
    this.tip = make("div", { class: "tip", hidden: true });
    this.heading = make("h3", {}, preset.title);
    place.append(make("figure", { class: "scatter", id },
      this.heading,
      make("div", { class: "controls" }, choose("x", preset.x), choose("y", preset.y),
        make("label", {}, this.front, "Pareto front (less is better)"), save),
      make("div", { class: "canvas" }, this.svg, this.tip), (this.words = make("figcaption", {}))));
    for (const axis of ["x", "y"]) {
      this[axis].addEventListener("change", () => {
        const [x, y] = [this.column("x"), this.column("y")];
        this.heading.textContent = x.name === preset.x && y.name === preset.y ? preset.title : `${y.label} against ${x.label}`;
        this.page.fronts();
      });
      this.autoLog(axis);
    }
    this.listen();
    new ResizeObserver(() => { if (!PAPER && this.svg.clientWidth !== this.width) this.refresh(); }).observe(this.svg);
  }

  column(axis) { return BY_NAME.get(this[axis].value); }

  // A logarithmic axis where the values of what is shown together span it.
  autoLog(axis) {
    const column = this.column(axis), only = this.page.workload;
    const known = [];
    for (let i = 0; i < N; i++) {
      if ((only < 0 || WORKLOAD_OF[i] === only) && column.at(i) !== null) known.push(column.at(i));
    }
    const [low, high] = range(known);
    this[`${axis}log`].checked = low > 0 && high / low > 8;
  }

  refresh(visible = this.visible) {
    this.visible = visible;
    this.width = PAPER || this.svg.clientWidth || 560;
    const [X, Y, E] = [this.column("x"), this.column("y"), BY_NAME.get(this.column("y").error)];
    const [xlog, ylog] = [this.xlog.checked, this.ylog.checked];
    const fits = (v, log) => v !== null && (!log || v > 0);
    const all = [];
    for (const i of visible) if (fits(X.at(i), xlog) && fits(Y.at(i), ylog)) all.push(i);
    this.best = this.fronts(all, X, Y);
    const only = this.page.workload;
    this.shown = only < 0 ? all : all.filter((i) => WORKLOAD_OF[i] === only);
    this.line = this.best.filter((front) => only < 0 || WORKLOAD_OF[front[0]] === only);
    this.say();
    this.draw(X, Y, E, xlog, ylog);
  }

  draw(X, Y, E, xlog, ylog) {
    const width = this.width, height = Math.round(Math.min(PAPER ? 380 : 460, Math.max(320, width * 0.66)));
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.px = new Float64Array(N); this.py = new Float64Array(N);
    this.places = this.shown.length > 0;
    if (!this.places) {
      this.svg.append(text(width / 2, height / 2, "No point passes the filters.", { "text-anchor": "middle" }));
      return;
    }
    const bars = E && this.shown.length <= MAX_BARS ? this.shown.filter((i) => E.at(i) > 0) : [];
    const bases = this.bases(Y);
    const xs = this.shown.map((i) => X.at(i));
    const ys = [...this.shown.map((i) => Y.at(i)), ...bases.map(([, v]) => v), ...bars.flatMap((i) => this.ends(Y.at(i), E.at(i), ylog))];
    const room = plot(width, height, axisTitle(Y, ylog), [...range(ys), ylog]);
    const { box, sy } = room, sx = scale(...range(xs), xlog, box.left, box.right);
    axes(this.svg, room, sx, axisTitle(X, xlog));
    for (const i of this.shown) { this.px[i] = sx.map(X.at(i)); this.py[i] = sy.map(Y.at(i)); }
    for (const [model, v] of bases) {
      this.svg.append(draw("path", { class: "base", d: `M${box.left} ${sy.map(v)}H${box.right}` }));
      this.svg.append(text(box.right, sy.map(v) + (sy.map(v) + 14 < box.bottom ? 12 : -5), bases.length > 1 ? `${model}, unquantized` : "unquantized", { "text-anchor": "end" }));
    }
    this.svg.append(draw("path", { class: "bars", d: bars.map((i) => this.bar(i, sy, Y.at(i), E.at(i), ylog)).join("") }));
    this.paint();
    this.byX = this.shown.slice().sort((a, b) => this.px[a] - this.px[b] || this.py[b] - this.py[a]);
    this.svg.append((this.marks = draw("g", { class: "marks" })));
    this.mark();
  }

  // What the unquantized models of the shown points have of the measure on the y axis.
  bases(Y) {
    const known = DATA.unquantized[Y.name], model = BY_NAME.get("model");
    if (!known || !model) return [];
    const shown = new Set(this.shown.map((i) => model.raw(i)));
    return Object.entries(known).filter(([name]) => shown.has(name)).slice(0, MAX_BASES);
  }

  ends(y, error, log) { return [log ? Math.max(y - error, y / 10) : y - error, y + error]; }

  bar(i, sy, y, error, log) {
    const [low, high] = this.ends(y, error, log).map((v) => sy.map(v).toFixed(1));
    return `M${this.px[i].toFixed(1)} ${low}V${high}`;
  }

  // Under the chart: what its points were run on.
  say() {
    const only = this.page.workload;
    const same = this.column("x").name === this.preset.x && this.column("y").name === this.preset.y;
    const words = same ? this.preset.conditions : DATA.conditions;
    this.words.textContent = [only < 0 || WORKLOADS.length < 2 ? "" : `${WORKLOADS[only]}.`, ...words].join(" ").trim();
  }

  // The front among the points of each workload, by a walk in order of x.
  fronts(all, X, Y) {
    const groups = new Map();
    for (const i of all) {
      if (!groups.has(WORKLOAD_OF[i])) groups.set(WORKLOAD_OF[i], []);
      groups.get(WORKLOAD_OF[i]).push(i);
    }
    const lines = [];
    for (const group of groups.values()) {
      group.sort((a, b) => X.at(a) - X.at(b) || Y.at(a) - Y.at(b));
      let best = Infinity, at = NaN;
      const line = [];
      for (const i of group) {
        const x = X.at(i), y = Y.at(i);
        if (y < best || (y === best && x === at)) { line.push(i); if (y < best) at = x; best = y; }
      }
      lines.push(line);
    }
    return lines;
  }

  paint() {
    const { series, of } = this.page.series;
    const on = new Uint8Array(N);
    if (this.front.checked) for (const line of this.line) for (const i of line) on[i] = 1;
    const many = this.shown.length > 1500, r = many ? 2.6 : this.shown.length > 300 ? 3.4 : 4.4;
    const small = series.map((s) => outline(s.mark, r)), large = series.map((s) => outline(s.mark, r + 0.8));
    const back = series.map(() => []), fore = series.map(() => []);
    for (const i of this.shown) {
      const k = of(i);
      (on[i] ? fore : back)[k].push(`M${Math.round(this.px[i] * 10) / 10} ${Math.round(this.py[i] * 10) / 10}${(on[i] ? large : small)[k]}`);
    }
    const group = draw("g", { class: this.front.checked ? "points" : "points all" });
    const put = (found, name) => series.forEach((s, k) => found[k].length && group.append(draw("path", { d: found[k].join(""), fill: s.mark.color, class: name })));
    put(back, "back");
    if (this.front.checked) {
      const drawn = draw("g", { class: this.line.length > 12 ? "fronts many" : "fronts" });
      for (const line of this.line) if (line.length > 1) drawn.append(draw("path", { d: this.stairs(line) }));
      group.append(drawn);
    }
    put(fore, "fore");
    this.svg.append(group);
  }

  // A front is a staircase: nothing between two designs is a design.
  stairs(line) {
    const at = (i) => [this.px[i].toFixed(1), this.py[i].toFixed(1)];
    return `M${at(line[0]).join(" ")}` + line.slice(1).map((i) => `H${at(i)[0]}V${at(i)[1]}`).join("");
  }

  // Rings around the selected point and the one under the cursor.
  mark() {
    if (!this.places || !this.marks) return;
    this.marks.replaceChildren();
    const ring = (i, name, r) => this.marks.append(draw("circle", { cx: this.px[i], cy: this.py[i], r, class: name }));
    const shown = new Set(this.shown);
    if (shown.has(this.page.selected)) {
      ring(this.page.selected, "selected halo", 9);
      ring(this.page.selected, "selected", 9);
    }
    if (this.cursor >= 0 && shown.has(this.cursor)) ring(this.cursor, "cursor", 7);
  }

  near(event) {
    if (!this.places) return -1;
    const box = this.svg.getBoundingClientRect();
    const x = event.clientX - box.left, y = event.clientY - box.top;
    let best = -1, distance = 14 * 14;
    for (const i of this.shown) {
      const d = (this.px[i] - x) ** 2 + (this.py[i] - y) ** 2;
      if (d < distance) { distance = d; best = i; }
    }
    return best;
  }

  hover(i) {
    this.cursor = i;
    this.mark();
    this.tip.hidden = i < 0;
    if (i < 0) return;
    const [X, Y] = [this.column("x"), this.column("y")];
    const show = (c) => (c.numeric && c.unit ? `${c.show(i)} ${c.unit}` : String(c.show(i)).slice(0, 100));
    const facts = [...new Set([X, Y, ...NAMING, ...ACCURACY])].filter((c) => c.raw(i) !== null);
    this.tip.replaceChildren(make("dl", {}, facts.map((c) => make("div", {}, make("dt", {}, c.label), make("dd", {}, show(c))))));
    const { top, bottom } = this.svg.getBoundingClientRect(), { offsetHeight: height } = this.tip;
    this.tip.classList.toggle("above", bottom + height > innerHeight && top >= height);
  }

  listen() {
    let frame = 0;
    this.svg.addEventListener("pointermove", (event) => {
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => this.hover(this.near(event)));
    });
    this.svg.addEventListener("pointerleave", () => { cancelAnimationFrame(frame); this.hover(-1); });
    this.svg.addEventListener("click", (event) => { const i = this.near(event); if (i >= 0) this.page.select(i); });
    this.svg.addEventListener("blur", () => this.hover(-1));
    this.svg.addEventListener("keydown", (event) => this.key(event));
  }

  key(event) {
    const along = { ArrowLeft: [this.byX, -1], ArrowRight: [this.byX, 1], Home: [this.byX, "first"], End: [this.byX, "last"] };
    if (event.key === "Escape") return this.hover(-1);
    if (!this.places) return undefined;
    const front = this.line.flat();
    Object.assign(along, { ArrowUp: [front, -1], ArrowDown: [front, 1] });
    if ((event.key === "Enter" || event.key === " ") && this.cursor >= 0) {
      event.preventDefault();
      return this.page.select(this.cursor);
    }
    if (!(event.key in along)) return undefined;
    event.preventDefault();
    const [list, step] = along[event.key];
    const from = this.cursor >= 0 ? this.cursor : this.page.selected;
    const at = list.indexOf(from);
    const to = step === "first" ? 0 : step === "last" ? list.length - 1 : at < 0 ? 0 : Math.min(list.length - 1, Math.max(0, at + step));
    this.hover(list[to]);
    const [X, Y] = [this.column("x"), this.column("y")];
    return announce(`${nameOf(list[to])}: ${X.label} ${X.show(list[to])} ${X.unit}, ${Y.label} ${Y.show(list[to])} ${Y.unit}`);
  }
}
