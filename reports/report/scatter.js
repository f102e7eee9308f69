// A chart of points: any two numbers against each other, with the Pareto front of each workload.

class Scatter {
  constructor(place, preset, page) {
    this.page = page;
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
      make("div", { class: "canvas" }, this.svg, this.tip)));
    for (const axis of ["x", "y"]) {
      this[axis].addEventListener("change", () => {
        const [x, y] = [this.column("x"), this.column("y")];
        this.heading.textContent = x.name === preset.x && y.name === preset.y ? preset.title : `${y.label} against ${x.label}`;
        this.page.fronts();
      });
      this.autoLog(axis);
    }
    this.listen();
    new ResizeObserver(() => { if (this.svg.clientWidth !== this.width) this.refresh(); }).observe(this.svg);
  }

  column(axis) { return BY_NAME.get(this[axis].value); }

  // A logarithmic axis where the values span it.
  autoLog(axis) {
    const column = this.column(axis);
    let low = Infinity, high = -Infinity;
    for (let i = 0; i < N; i++) {
      const v = column.at(i);
      if (v !== null) { low = Math.min(low, v); high = Math.max(high, v); }
    }
    this[`${axis}log`].checked = low > 0 && high / low > 8;
  }

  refresh(visible = this.visible) {
    this.visible = visible;
    const width = (this.width = this.svg.clientWidth || 560), height = Math.round(Math.min(430, Math.max(300, width * 0.68)));
    const [X, Y] = [this.column("x"), this.column("y")];
    const [xlog, ylog] = [this.xlog.checked, this.ylog.checked];
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    const fits = (v, log) => v !== null && (!log || v > 0);
    this.shown = [];
    let [x0, x1, y0, y1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const i of visible) {
      const x = X.at(i), y = Y.at(i);
      if (!fits(x, xlog) || !fits(y, ylog)) continue;
      this.shown.push(i);
      x0 = Math.min(x0, x); x1 = Math.max(x1, x); y0 = Math.min(y0, y); y1 = Math.max(y1, y);
    }
    const box = { left: 70, right: width - 14, top: 12, bottom: height - 46 };
    if (!this.shown.length) {
      this.svg.append(text(width / 2, height / 2, "No point passes the filters.", { "text-anchor": "middle" }));
      this.places = null;
      return;
    }
    const sx = scale(x0, x1, xlog, box.left, box.right), sy = scale(y0, y1, ylog, box.bottom, box.top);
    axes(this.svg, box, sx, sy, X.full, Y.full);
    this.px = new Float64Array(N); this.py = new Float64Array(N);
    for (const i of this.shown) { this.px[i] = sx.map(X.at(i)); this.py[i] = sy.map(Y.at(i)); }
    this.places = true;
    this.best = this.fronts(X, Y);
    this.paint();
    this.byX = this.shown.slice().sort((a, b) => this.px[a] - this.px[b] || this.py[b] - this.py[a]);
    this.svg.append((this.marks = draw("g", { class: "marks" })));
    this.mark();
  }

  // The front among the shown points of each workload, by a walk in order of x.
  fronts(X, Y) {
    const groups = new Map();
    for (const i of this.shown) {
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
    if (this.front.checked) for (const line of this.best) for (const i of line) on[i] = 1;
    const many = this.shown.length > 1500, r = many ? 2.6 : this.shown.length > 300 ? 3.4 : 4.4;
    const back = series.map(() => []), fore = series.map(() => []);
    for (const i of this.shown) {
      const k = of(i);
      (on[i] ? fore : back)[k].push(series[k].shape(Math.round(this.px[i] * 10) / 10, Math.round(this.py[i] * 10) / 10, on[i] ? r + 0.8 : r));
    }
    const group = draw("g", { class: this.front.checked ? "points" : "points all" });
    series.forEach((s, k) => back[k].length && group.append(draw("path", { d: back[k].join(""), fill: s.colour, class: "back" })));
    if (this.front.checked) {
      const lines = draw("g", { class: this.best.length > 12 ? "fronts many" : "fronts" });
      for (const line of this.best) {
        if (line.length > 1) lines.append(draw("path", { d: "M" + line.map((i) => `${this.px[i].toFixed(1)} ${this.py[i].toFixed(1)}`).join("L") }));
      }
      group.append(lines);
    }
    series.forEach((s, k) => fore[k].length && group.append(draw("path", { d: fore[k].join(""), fill: s.colour, class: "fore" })));
    this.svg.append(group);
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
    const rows = [...new Set([...NAMING, X, Y, ...ACCURACY])];
    this.tip.replaceChildren(make("table", {}, rows.map((c) => make("tr", {}, make("th", {}, c.label), make("td", {}, c.numeric && c.unit ? `${c.show(i)} ${c.unit}` : String(c.show(i)).slice(0, 100))))));
    const left = this.px[i] > this.width / 2;
    this.tip.style.left = left ? "" : `${this.px[i] + 14}px`;
    this.tip.style.right = left ? `${this.width - this.px[i] + 14}px` : "";
    this.tip.style.top = `${Math.max(0, Math.min(this.py[i] - 20, this.svg.clientHeight - this.tip.offsetHeight - 4))}px`;
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
    const front = this.best.flat();
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
