// Many structures: a table to sort and filter, and the picture of the chosen one.

const PAGE = 100; // rows

class StructureTable {
  constructor(data, run, stage) {
    this.data = data;
    this.columns = run.table.columns;
    this.formulas = run.table.formulas;
    this.count = this.columns[0].values.length;
    this.collection = run.collection ? new Collection(data, run.collection) : null;
    this.order = Array.from({ length: this.count }, (_, k) => k);
    this.sorted = null;
    this.limit = PAGE;
    this.chosen = null;
    this.body = make("tbody", {});
    this.count_ = make("p", { class: "muted", role: "status" });
    this.more = make("button", { type: "button", text: "Show more", onclick: () => { this.limit += 5 * PAGE; this.fill(); } });
    this.viewer = this.collection ? new StructureCard(stage, data, this.collection) : null;
    const panel = card(null, { class: "list" }, this.#filters(), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Structures" }, this.#table()), this.more);
    this.element = make("div", { class: this.viewer ? "pair many" : "" }, this.viewer && make("div", { class: "left" }, this.viewer.element, this.viewer.measures), panel);
  }

  start() {
    this.fill();
    if (this.viewer && this.count) this.#choose(this.order[0]);
  }

  #filters() {
    const input = make("input", { type: "search", placeholder: "name or formula", oninput: () => { this.text = input.value.toLowerCase(); this.fill(); } });
    const filters = make("div", { class: "options" }, make("label", { class: "choice" }, make("span", { text: "Find" }), input));
    const flags = this.columns.find((c) => c.kind === "flag");
    if (flags && new Set(flags.values).size > 1) {
      const values = [...new Set(flags.values)].sort();
      filters.append(choice("Outcome", [["", "all"], ...values.map((v) => [v, v])], "", (value) => { this.flag = value; this.fill(); }));
    }
    filters.append(this.count_);
    return filters;
  }

  #table() {
    const head = make("tr", {}, this.collection ? make("th", { scope: "col" }, make("span", { class: "hidden", text: "Drawing" })) : null);
    this.heads = this.columns.map((column, k) => {
      const unit = column.unit ? make("small", { text: ` ${column.unit}` }) : null;
      const button = make("button", { type: "button", onclick: () => this.#sort(k) }, column.title, unit);
      const th = make("th", { scope: "col", class: column.kind, "aria-sort": "none", "data-key": column.key }, button);
      head.append(th);
      return th;
    });
    return make("table", {}, make("thead", {}, head), this.body);
  }

  #sort(k) {
    const falling = this.sorted === k && this.heads[k].getAttribute("aria-sort") === "ascending";
    this.sorted = k;
    this.heads.forEach((th, j) => th.setAttribute("aria-sort", j !== k ? "none" : falling ? "descending" : "ascending"));
    const { values, kind } = this.columns[k];
    const sign = falling ? -1 : 1;
    const text = new Intl.Collator("en", { numeric: true });
    this.order.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (x === null || y === null) return (x === null) - (y === null); // unknown ones last
      return sign * (kind === "number" ? x - y : text.compare(x, y)) || a - b;
    });
    this.fill();
  }

  #matches(row) {
    const texts = this.columns.filter((c) => c.kind === "text").map((c) => c.values[row]);
    if (this.formulas) texts.push(this.formulas[row]);
    const flags = this.columns.find((c) => c.kind === "flag");
    return (!this.text || texts.some((t) => t.toLowerCase().includes(this.text))) && (!this.flag || flags.values[row] === this.flag);
  }

  fill() {
    const rows = this.order.filter((row) => this.#matches(row));
    this.body.replaceChildren(...rows.slice(0, this.limit).map((row) => this.#row(row)));
    this.count_.textContent = `${rows.length} of ${this.count}`;
    this.more.hidden = rows.length <= this.limit;
  }

  #row(row) {
    const tr = make("tr", { "data-row": row, class: row === this.chosen ? "chosen" : "", onclick: () => this.#pick(row) });
    if (this.collection) {
      const canvas = make("canvas", { class: "thumbnail", "aria-hidden": "true" });
      thumbnail(canvas, this.collection.structure(row), this.data.elements);
      tr.append(make("td", {}, canvas));
    }
    for (const column of this.columns) tr.append(this.#cell(column, row));
    return tr;
  }

  #cell(column, row) {
    const value = column.values[row];
    if (column.key === "name" && this.viewer) {
      return make("td", { class: "text" }, make("button", { type: "button", class: "name", text: value, "aria-pressed": String(row === this.chosen) }), formulaText(this.formulas[row]));
    }
    if (column.kind === "number") return make("td", { class: "number", text: figure(value, column.digits) });
    if (column.kind === "flag") return make("td", { class: "text" }, make("span", { class: `flag ${value === "converged" ? "good" : "bad"}`, text: value }));
    return make("td", { class: "text", text: value });
  }

  /** Show a structure that the reader picks, whose picture may be above on a narrow page. */
  #pick(row) {
    this.#choose(row);
    if (this.viewer) this.viewer.element.scrollIntoView({ block: "nearest" });
  }

  #choose(row) {
    if (!this.viewer) return;
    this.chosen = row;
    for (const tr of this.body.children) {
      const chosen = Number(tr.dataset.row) === row;
      tr.classList.toggle("chosen", chosen);
      const button = tr.querySelector(".name");
      if (button) button.setAttribute("aria-pressed", String(chosen));
    }
    this.viewer.show(row, this.columns[0].values[row]);
  }
}

/** Different structures, cut out of the common arrays. */
class Collection {
  constructor(data, described) {
    this.described = described;
    this.positions = data.unpack(described.positions);
    this.cells = data.unpack(described.cells);
    this.starts = [0];
    for (const size of described.sizes) this.starts.push(this.starts[this.starts.length - 1] + size);
  }

  structure(row) {
    const [start, end] = [this.starts[row], this.starts[row + 1]];
    const cell = this.cells.subarray(9 * row, 9 * row + 9);
    return {
      numbers: this.described.numbers.slice(start, end),
      positions: this.positions.subarray(3 * start, 3 * end),
      pbc: this.described.pbc[row],
      cell: cell.some((x) => x !== 0) ? cell : null,
    };
  }

  /** One structure as a trajectory of one frame, its arrays already unpacked. */
  trajectory(data, row) {
    const { numbers, positions, pbc, cell } = this.structure(row);
    const unpacked = { elements: data.elements, unpack: (array) => array };
    const cells = cell ? Object.assign(cell, { shape: [1] }) : null;
    return new Trajectory(unpacked, { numbers, frames: 1, pbc, positions, cells });
  }
}

/** The picture of the chosen structure. */
class StructureCard {
  constructor(stage, data, collection) {
    this.stage = stage;
    this.data = data;
    this.collection = collection;
    this.title = make("h3", { "aria-live": "polite" });
    this.measures = make("div", {});
    this.element = card(null, { class: "viewer", "aria-label": "Structure in 3D" }, this.title);
    stage.mount(this.element);
    this.legend = make("div", {});
    this.element.append(this.legend);
    stage.style = "balls";
  }

  show(row, name) {
    const trajectory = this.collection.trajectory(this.data, row);
    const measures = new Measures(trajectory, (atoms) => this.stage.mark(atoms, atoms.map((atom) => `${trajectory.symbols[atom]} ${atom}`)));
    this.title.textContent = name;
    this.stage.element.setAttribute("aria-label", `3D picture of ${name}`);
    this.stage.mark([], []);
    this.stage.draw(trajectory.scene(0, null));
    this.stage.face();
    this.stage.onpick = (atom) => measures.pick(atom % trajectory.numbers.length);
    this.legend.replaceChildren(colorLegend(trajectory, this.data.elements, null));
    this.measures.replaceChildren(measures.element);
  }
}
