// Runs side by side: figures, plots over each other, final structures over each other.

// What the table of runs says, its title, and digits behind the point.
const COMPARED = [
  ["energy_eV", "Energy eV", 4], ["difference_eV", "Difference eV", 4], ["rmsd_A", "RMSD Å", 3],
  ["max_force", "Last max force eV/Å", 4], ["temperature_K", "Mean temperature K", 0],
  ["structures", "Structures", 0], ["converged", "Converged", 0], ["steps", "Median steps", 0], ["frames", "Frames", 0],
];

/** Whether runs have more in common than a table: the same structures or quantities. */
function comparable({ comparison, runs }) {
  const titles = runs.filter((run) => run.series).map((run) => run.series.x.title);
  return comparison.overlay.length > 0 || comparison.pairs !== null || new Set(titles).size < titles.length;
}

function comparisonView(data, stage) {
  const { comparison, runs } = data;
  const page = make("article", { class: "run" },
    make("header", { class: "head" }, make("p", { class: "kind", text: "Comparison" }), make("h1", { text: runs.length > 3 ? `${runs.length} runs` : runs.map((run) => run.name).join(" · ") })));
  page.append(card(null, { class: "list" }, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs" }, runTable(comparison.rows, runs))));
  const layers = comparison.overlay.map(({ run, positions }) => ({ run, positions, numbers: runs[run].trajectory.numbers }));
  const overlay = layers.length ? new Overlay(data, stage, "Final structures, superposed", layers) : null;
  const [first, ...others] = runs.filter((run) => run.series);
  const alike = first ? others.filter((run) => run.series.x.title === first.series.x.title) : [];
  const plots = alike.length ? seriesPlots(first, null, alike, (run) => runs.indexOf(run)) : [];
  const panel = plots.length ? card(null, { class: "plots", "aria-label": "Quantities" }, ...plots.map((plot) => plot.element)) : null;
  if (overlay || panel) page.append(make("div", { class: overlay && panel ? "pair" : "" }, overlay && make("div", { class: "left" }, overlay.element), panel));
  page.append(make("div", { class: "grid" }, ...structuralOverlays(runs).map((plot) => card(null, {}, plot.element))));
  const pairs = comparison.pairs ? new PairTable(data, stage, comparison.pairs) : null;
  if (pairs) page.append(pairs.element);
  return { page, start: () => (pairs || overlay || NOTHING).start(), key: () => false };
}

function runTable(rows, runs) {
  const shown = COMPARED.filter(([key]) => rows.some((row) => row[key] !== null && row[key] !== undefined));
  const head = make("tr", {}, make("th", { scope: "col", text: "Run" }), make("th", { scope: "col", text: "Kind" }),
    ...shown.map(([, title]) => make("th", { scope: "col", class: "number", text: title })));
  const body = rows.map((row, k) => {
    return make("tr", {}, make("th", { scope: "row" }, make("span", { class: "key" }, lineKey(k), runs[k].name)), make("td", { text: row.kind }),
      ...shown.map(([name, , digits]) => make("td", { class: "number", text: figure(row[name], digits) })));
  });
  return make("table", {}, make("thead", {}, head), make("tbody", {}, ...body));
}

function structuralOverlays(runs) {
  const plots = [];
  for (const plot of runs[0].plots) {
    for (const line of plot.lines.slice(0, plot.key === "rdf" ? 3 : 6)) {
      const lines = runs.flatMap((run, k) => {
        const same = run.plots.find((p) => p.key === plot.key);
        const found = same && same.x.unit === plot.x.unit && same.lines.find((l) => l.title === line.title);
        return found ? [{ title: run.name, values: found.values, x: same.x.values, place: k }] : [];
      });
      const title = plot.lines.length > 1 ? `${plot.title}, ${line.title}` : plot.title;
      if (lines.length > 1) plots.push(new Plot({ key: plot.key, title, unit: plot.y.unit, x: plot.x, lines, height: 170, zero: true }));
    }
  }
  return plots;
}

const NOTHING = { start() {} };

/** Structures over each other, each in the color of its run: layers of run, numbers and positions. */
class Overlay {
  constructor(data, stage, title, layers) {
    this.stage = stage;
    this.layers = layers;
    this.shown = new Set(layers.map((_, k) => k));
    this.data = data;
    this.title = make("h3", { text: title, "aria-live": "polite" });
    this.element = card(null, { class: "viewer", "aria-label": "Structures in 3D" }, this.title);
    const holder = make("div", {});
    stage.mount(holder);
    stage.style = "sticks";
    stage.onpick = null;
    stage.element.setAttribute("aria-label", "3D picture of structures, superposed");
    this.element.append(holder, this.#legend());
  }

  start() {
    this.stage.mark([], []);
    this.#draw();
    this.stage.face();
  }

  show(title, layers) {
    this.title.textContent = title;
    this.layers = layers;
    this.start();
  }

  #legend() {
    const legend = make("div", { class: "legend" });
    this.layers.forEach(({ run }, k) => {
      const button = make("button", { type: "button", class: "key", "aria-pressed": "true", onclick: () => {
        if (this.shown.has(k)) this.shown.delete(k);
        else this.shown.add(k);
        button.setAttribute("aria-pressed", String(this.shown.has(k)));
        this.#draw();
      } }, lineKey(run), this.data.runs[run].name);
      legend.append(button);
    });
    return legend;
  }

  #draw() {
    const { elements, unpack } = this.data;
    const scene = { symbols: [], radii: [], colors: [], groups: [], positions: [], cell: null };
    this.layers.forEach(({ run, numbers, positions }, k) => {
      if (!this.shown.has(k)) return;
      const color = packed(css(lineColorName(run)));
      for (const z of numbers) {
        scene.symbols.push(elements[z].symbol);
        scene.radii.push(elements[z].radius);
        scene.colors.push(z === 1 ? paler(color) : color);
        scene.groups.push(k);
      }
      scene.positions.push(...unpack(positions));
    });
    this.stage.draw(scene);
  }
}

function paler(color) {
  const mix = (shift) => Math.round((((color >> shift) & 255) + 2 * 200) / 3) << shift;
  return mix(16) | mix(8) | mix(0);
}

/** Structures of two runs with the same name: what changed, the largest first; a click shows both. */
class PairTable {
  constructor(data, stage, pairs) {
    this.pairs = pairs;
    const order = pairs.name.map((_, k) => k);
    order.sort((a, b) => Math.abs(pairs.difference_eV[b] || 0) - Math.abs(pairs.difference_eV[a] || 0));
    const head = ["Structure", "Difference eV", "RMSD Å"].map((title, k) => make("th", { scope: "col", class: k ? "number" : "", text: title }));
    this.rows = order.map((k) => this.#row(k));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...this.rows));
    const list = card(`${order.length} structures in both`, { class: "list" }, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Structures in both runs" }, table));
    this.first = order.find((k) => pairs.shown[k]);
    const layers = [0, 1].map((run) => ({ run, numbers: [], positions: null }));
    this.overlay = this.first === undefined ? null : new Overlay(data, stage, "", layers);
    this.element = make("div", { class: this.overlay ? "pair many" : "" }, this.overlay && make("div", { class: "left" }, this.overlay.element), list);
  }

  start() {
    if (this.overlay) this.#choose(this.first);
  }

  #row(k) {
    const { name, difference_eV, rmsd_A, shown } = this.pairs;
    const title = shown[k] ? make("button", { type: "button", class: "name", text: name[k] }) : name[k];
    return make("tr", { "data-row": k, onclick: () => shown[k] && this.#choose(k) }, make("td", { class: "text" }, title),
      make("td", { class: "number", text: figure(difference_eV[k], 4) }), make("td", { class: "number", text: figure(rmsd_A[k], 3) }));
  }

  #choose(k) {
    const { numbers, positions } = this.pairs.shown[k];
    for (const row of this.rows) row.classList.toggle("chosen", Number(row.dataset.row) === k);
    this.overlay.show(this.pairs.name[k], [0, 1].map((run) => ({ run, numbers, positions: positions[run] })));
  }
}
