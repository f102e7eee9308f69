// The table of points: sorted by any column, a page at a time, to download.

const PAGE_ROWS = 50, PAPER_ROWS = 200;

class Table {
  constructor(page) {
    this.page = page;
    this.order = { name: null, down: false };
    this.first = 0;
    this.all = document.getElementById("allcolumns");
    this.all.addEventListener("change", () => this.rebuild());
    document.getElementById("previous").addEventListener("click", () => this.turn(-1));
    document.getElementById("next").addEventListener("click", () => this.turn(1));
    document.getElementById("csv").addEventListener("click", () => download("points.csv", "text/csv", this.csv()));
    this.place = document.getElementById("table");
    this.place.addEventListener("keydown", (event) => this.key(event));
    this.rebuild();
  }

  get columns() {
    if (this.all.checked) return COLUMNS;
    const main = ["cycles", "seconds", "utilization", "energy_pj.total", "power_w", "area_um2.total", "edp_pj_s"];
    return COLUMNS.filter((c) => (c.result ? main.includes(c.name) || c.accuracy : NAMING.includes(c)));
  }

  rebuild() {
    const row = make("tr");
    for (const c of this.columns) {
      const button = make("button", { type: "button" }, c.full);
      button.addEventListener("click", () => this.sort(c.name));
      const words = PAPER ? c.full : button; // browsers do not print buttons again on the next page
      row.append(make("th", { scope: "col", "data-name": c.name, class: c.numeric ? null : "name" }, words));
    }
    this.body = make("tbody");
    this.place.replaceChildren(make("thead", {}, row), this.body);
    this.refresh();
  }

  sort(name) {
    this.order = { name, down: this.order.name === name && !this.order.down };
    this.first = 0;
    this.refresh();
    announce(`Sorted by ${BY_NAME.get(name).full}, ${this.order.down ? "largest" : "smallest"} first.`);
  }

  sorted() {
    const column = BY_NAME.get(this.order.name);
    if (!column) return this.page.visible;
    const sign = this.order.down ? -1 : 1;
    const compare = column.numeric ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
    return Array.from(this.page.visible).sort((a, b) => {
      const [x, y] = [column.raw(a), column.raw(b)];
      if (x === null || y === null) return (x === null) - (y === null) || a - b;
      return sign * compare(x, y) || a - b;
    });
  }

  refresh() {
    if (!this.page.visible) return;
    this.rows = this.sorted();
    for (const head of this.place.querySelectorAll("th[data-name]")) {
      if (head.dataset.name === this.order.name) head.setAttribute("aria-sort", this.order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    this.paint();
  }

  paint() {
    const columns = this.columns;
    this.first = Math.max(0, Math.min(this.first, Math.floor((this.rows.length - 1) / PAGE_ROWS) * PAGE_ROWS));
    const [first, end] = PAPER ? [0, PAPER_ROWS] : [this.first, this.first + PAGE_ROWS];
    const shown = Array.from(this.rows.slice(first, end));
    const focus = shown.includes(this.page.selected) ? this.page.selected : shown[0];
    this.body.replaceChildren(...shown.map((i) => {
      const row = make("tr", { "data-point": i, tabindex: i === focus ? 0 : -1, "aria-selected": String(i === this.page.selected) },
        columns.map((c) => make("td", { class: c.numeric ? null : "name" }, c.show(i))));
      row.addEventListener("click", () => this.page.select(i));
      return row;
    }));
    const last = Math.min(end, this.rows.length);
    document.getElementById("range").textContent = this.rows.length ? `${first + 1} to ${last} of ${this.rows.length.toLocaleString("en")}` : "no points";
    document.getElementById("previous").disabled = first === 0;
    document.getElementById("next").disabled = last >= this.rows.length;
  }

  turn(by) {
    this.first += by * PAGE_ROWS;
    this.paint();
  }

  key(event) {
    const row = event.target.closest("tr[data-point]");
    if (!row) return;
    const to = { ArrowDown: row.nextSibling, ArrowUp: row.previousSibling, Home: this.body.firstChild, End: this.body.lastChild }[event.key];
    if (to) {
      event.preventDefault();
      row.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
    } else if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      const point = row.dataset.point;
      this.page.select(Number(point));
      this.body.querySelector(`tr[data-point="${point}"]`)?.focus();
    }
  }

  // The filtered points in the order shown, all columns, stored units; formulae are disarmed.
  csv() {
    const cell = (value) => {
      if (value === null) return "";
      const words = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
      return /[",\r\n]/.test(words) ? `"${words.replaceAll('"', '""')}"` : words;
    };
    const kept = (c, i) => (c.stored ? c.stored[c.values[c.constant ? 0 : i]] : c.raw(i));
    const rows = [COLUMNS.map((c) => cell(c.name)).join(",")];
    for (const i of this.rows) rows.push(COLUMNS.map((c) => cell(kept(c, i))).join(","));
    return rows.join("\n") + "\n";
  }
}
