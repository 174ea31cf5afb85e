// Runs side by side: figures, plots over each other, final structures over each other.

function comparisonView(data, stage) {
  const { comparison, runs } = data;
  const page = make("article", { class: "run" },
    make("header", { class: "head" }, make("p", { class: "kind", text: "Comparison" }), make("h1", { text: runs.map((run) => run.name).join(" · ") })));
  page.append(card(null, { class: "list" }, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Runs" }, runTable(comparison.rows, runs))));
  const overlay = comparison.overlay.length ? new Overlay(data, stage, comparison.overlay) : null;
  const [first, ...others] = runs.filter((run) => run.series);
  const alike = first ? others.filter((run) => run.series.x.title === first.series.x.title) : [];
  const plots = alike.length ? seriesPlots(first, null, alike) : [];
  const panel = plots.length ? card(null, { class: "plots", "aria-label": "Quantities" }, ...plots.map((plot) => plot.element)) : null;
  if (overlay || panel) page.append(make("div", { class: overlay && panel ? "pair" : "" }, overlay && make("div", { class: "left" }, overlay.element), panel));
  page.append(make("div", { class: "grid" }, ...structuralOverlays(runs).map((plot) => card(null, {}, plot.element))));
  if (comparison.pairs) page.append(new PairTable(comparison.pairs).element);
  return { page, start: () => overlay && overlay.start(), key: () => false };
}

function runTable(rows, runs) {
  const titles = ["Run", "Kind", "Energy eV", "Difference eV", "RMSD Å", "Largest force eV/Å", "Mean temperature K", "Rows"];
  const head = make("tr", {}, ...titles.map((title, k) => make("th", { scope: "col", class: k > 1 ? "number" : "", text: title })));
  const body = rows.map((row, k) => {
    const key = make("i", { style: `background:${lineColor(k)}` });
    const numbers = [
      [row.energy_eV, 4], [row.difference_eV, 4], [row.rmsd_A, 3], [row.max_force, 4], [row.temperature_K, 0], [row.length, 0],
    ];
    return make("tr", {}, make("th", { scope: "row" }, make("span", { class: "key" }, key, runs[k].name)), make("td", { text: `${runs[k].title}, ${row.energy_kind}` }),
      ...numbers.map(([value, digits]) => make("td", { class: "number", text: k === 0 && (value === row.rmsd_A || value === row.difference_eV) ? "–" : figure(value, digits) })));
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
        return found ? [{ title: run.name, values: found.values, x: same.x.values, color: lineColor(k) }] : [];
      });
      const title = plot.lines.length > 1 ? `${plot.title}, ${line.title}` : plot.title;
      if (lines.length > 1) plots.push(new Plot({ key: plot.key, title, unit: plot.y.unit, x: plot.x, lines, height: 170, zero: true }));
    }
  }
  return plots;
}

/** The final structures over each other, each in the color of its run. */
class Overlay {
  constructor(data, stage, placed) {
    this.stage = stage;
    this.placed = placed;
    this.shown = new Set(placed.map((_, k) => k));
    this.data = data;
    this.element = card("Final structures, superposed", { class: "viewer", "aria-label": "Final structures in 3D" });
    const holder = make("div", {});
    stage.mount(holder);
    stage.style = "sticks";
    stage.onpick = null;
    stage.element.setAttribute("aria-label", "3D picture of the final structures, superposed");
    this.element.append(holder, this.#legend());
  }

  start() {
    this.stage.mark([], []);
    this.#draw();
    this.stage.face();
  }

  #legend() {
    const legend = make("div", { class: "legend" });
    this.placed.forEach(({ run }, k) => {
      const button = make("button", { type: "button", class: "key", "aria-pressed": "true", onclick: () => {
        if (this.shown.has(k)) this.shown.delete(k);
        else this.shown.add(k);
        button.setAttribute("aria-pressed", String(this.shown.has(k)));
        this.#draw();
      } }, make("i", { style: `background:${lineColor(run)}` }), this.data.runs[run].name);
      legend.append(button);
    });
    return legend;
  }

  #draw() {
    const { runs, elements, unpack } = this.data;
    const scene = { symbols: [], radii: [], colors: [], groups: [], positions: [], cell: null };
    this.placed.forEach(({ run, positions }, k) => {
      if (!this.shown.has(k)) return;
      const { numbers } = runs[run].trajectory;
      const color = packed(css(`--line-${run % 6}`));
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

/** Structures of two runs with the same name: what changed, the largest first. */
class PairTable {
  constructor(pairs) {
    const order = pairs.name.map((_, k) => k);
    order.sort((a, b) => Math.abs(pairs.difference_eV[b] || 0) - Math.abs(pairs.difference_eV[a] || 0));
    const head = ["Structure", "Difference eV", "RMSD Å"].map((title, k) => make("th", { scope: "col", class: k ? "number" : "", text: title }));
    const rows = order.map((k) => make("tr", {}, make("td", { class: "text", text: pairs.name[k] }),
      make("td", { class: "number", text: figure(pairs.difference_eV[k], 4) }), make("td", { class: "number", text: figure(pairs.rmsd_A[k], 3) })));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
    this.element = card(`${order.length} structures in both`, { class: "list" }, make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Structures in both runs" }, table));
  }
}
