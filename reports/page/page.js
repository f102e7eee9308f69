// Filters, selection, and what follows from them.

const MAX_FILTER = 60;
const TOGETHER = 4; // workloads whose fronts still read well in one chart
const LEADING = ["format", "arch", "model", "phase"];

class Page {
  constructor() {
    this.visible = Int32Array.from({ length: N }, (_, i) => i);
    this.selected = -1;
    this.workload = WORKLOADS.length > TOGETHER ? 0 : -1;
    this.filters = NAMING.filter((c) => c.distinct().length <= MAX_FILTER);
    const rank = (c) => (LEADING.indexOf(c.name) + LEADING.length + 1) % (LEADING.length + 1);
    this.filters.sort((a, b) => rank(a) - rank(b));
    this.hidden = new Map(this.filters.map((c) => [c.name, new Set()]));
    this.buildFilters();
    this.buildColor();
    this.buildWorkload();
    const place = document.getElementById("charts");
    this.charts = DATA.charts.map((preset) => new Scatter(place, preset, this));
    place.append(document.querySelector(".keep")); // beside the last chart where it leaves room
    this.table = new Table(this);
    this.fixed();
    this.refresh();
    const front = this.charts.flatMap((chart) => chart.line ?? []).find((line) => line.length);
    if (N) this.select(front ? front[Math.floor(front.length / 2)] : 0);
  }

  buildFilters() {
    const place = document.getElementById("filters");
    for (const column of this.filters) {
      const list = make("div", { class: "levels" });
      const boxes = column.distinct().map((value) => {
        const box = make("input", { type: "checkbox", checked: true });
        box.addEventListener("change", () => {
          if (box.checked) this.hidden.get(column.name).delete(value);
          else this.hidden.get(column.name).add(value);
          this.refresh();
        });
        list.append(make("label", {}, box, make("span", {}, column.numeric ? number(value === null ? null : value * column.scale) || "(none)" : value || "(none)")));
        return [box, value];
      });
      const set = (on) => {
        this.hidden.set(column.name, new Set(on ? [] : column.distinct()));
        for (const [box] of boxes) box.checked = on;
        this.refresh();
      };
      const all = make("button", { type: "button", "aria-label": `all of ${column.label}` }, "all");
      const none = make("button", { type: "button", "aria-label": `none of ${column.label}` }, "none");
      all.addEventListener("click", () => set(true));
      none.addEventListener("click", () => set(false));
      place.append(make("fieldset", { "data-filter": column.name }, make("legend", {}, column.full), make("div", { class: "both" }, all, none), list));
    }
    if (!this.filters.length) place.append(make("p", { class: "note" }, "All points were run with the same choices."));
  }

  buildColor() {
    const list = document.getElementById("color");
    const columns = NAMING;
    const lead = columns.find((c) => ["format", "arch"].includes(c.name)) ?? columns.find((c) => !DATA.workload.includes(c.name)) ?? columns[0];
    for (const c of columns) list.append(make("option", { value: c.name, selected: c === lead }, c.label));
    this.series = seriesOf(lead);
    list.addEventListener("change", () => {
      this.series = seriesOf(BY_NAME.get(list.value));
      this.legend();
      for (const chart of this.charts) chart.refresh();
      this.fronts();
    });
    this.legend();
  }

  // Charts show one workload, or all of them together.
  buildWorkload() {
    const list = (this.workloads = document.getElementById("workload"));
    list.append(make("option", { value: -1 }, `all ${WORKLOADS.length} together`));
    WORKLOADS.forEach((name, k) => list.append(make("option", { value: k }, name)));
    list.value = this.workload;
    list.closest("span").hidden = WORKLOADS.length < 2;
    list.addEventListener("change", () => {
      this.workload = Number(list.value);
      for (const chart of this.charts) {
        chart.autoLog("x");
        chart.autoLog("y");
        chart.refresh();
      }
    });
  }

  // How often each value of the color column is on the Pareto front of a workload, by chart.
  fronts() {
    const { series, of } = this.series;
    const charts = this.charts.filter((chart) => chart.best.length);
    const of_ = (chart) => `of ${chart.best.length.toLocaleString("en")} workload${chart.best.length === 1 ? "" : "s"}`;
    const list = document.getElementById("color");
    document.getElementById("frontwords").textContent =
      `In how many workloads (${DATA.workload.join(", ")}) at least one point is on the Pareto front, by ${list.selectedOptions[0]?.textContent ?? "point"}; of those workloads that have both figures.`;
    const counts = charts.map((chart) => {
      const found = series.map(() => 0);
      for (const line of chart.best) for (const k of new Set(line.map(of))) found[k]++;
      return found;
    });
    document.getElementById("fronts").replaceChildren(
      make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "name" }, list.selectedOptions[0]?.textContent ?? ""), charts.map((c) => make("th", { scope: "col" }, c.heading.textContent, make("small", {}, of_(c)))))),
      make("tbody", {}, series.map((s, k) => make("tr", {}, make("th", { scope: "row" },
        swatch(s.mark), ` ${s.name}`),
        counts.map((found) => make("td", {}, String(found[k])))))));
  }

  legend() {
    document.getElementById("legend").replaceChildren(...this.series.series.map((s) =>
      make("li", {}, swatch(s.mark), s.name)));
  }

  fixed() {
    const same = CHOICES.filter((c) => !c.varies && says(c, 0) && c.name !== "scheme.linear");
    document.getElementById("fixed").textContent = same.length && N > 1 ? `The same for all points: ${same.map((c) => `${c.label} ${c.show(0)}`).join(", ")}.` : "";
  }

  refresh() {
    const active = this.filters.map((c) => [c, this.hidden.get(c.name)]).filter(([, set]) => set.size);
    const kept = [];
    for (let i = 0; i < N; i++) if (active.every(([c, set]) => !set.has(c.raw(i)))) kept.push(i);
    this.visible = Int32Array.from(kept);
    const [these, shown, all] = [kept.length, N, DATA.total].map((count) => count.toLocaleString("en"));
    const words = N === DATA.total ? `${these} of ${all} points`
      : kept.length === N ? `${shown} of ${all} points shown` : `${these} of the ${shown} points shown, of ${all}`;
    document.getElementById("count").textContent = words;
    if (this.workload >= 0 && kept.length && !kept.some((i) => WORKLOAD_OF[i] === this.workload)) {
      this.workload = WORKLOAD_OF[kept[0]];
      this.workloads.value = this.workload;
    }
    for (const chart of this.charts) chart.refresh(this.visible);
    this.fronts();
    this.table.first = 0;
    this.table.refresh();
    announce(words);
  }

  select(i) {
    this.selected = i;
    document.getElementById("chosen").textContent = nameOf(i);
    details(i);
    for (const chart of this.charts) chart.mark();
    this.table.paint();
    announce(`Chosen: ${nameOf(i)}`);
  }
}

// On paper: charts as wide as the column, and as many rows as a few pages hold.
const PAGE = new Page();
const print = (width) => {
  PAPER = width;
  for (const chart of PAGE.charts) chart.refresh();
  if (N) roofline(PAGE.selected);
  PAGE.table.rebuild();
};
addEventListener("beforeprint", () => print(680));
addEventListener("afterprint", () => print(0));
document.documentElement.setAttribute("data-ready", "true");
