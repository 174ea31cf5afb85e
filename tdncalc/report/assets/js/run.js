// The page of one run.

const FEW = 3; // plots

/** Put a run on the page and return what draws it, to be called once it is there. */
function runView(data, run, stage) {
  const page = make("article", { class: "run" }, runHead(run));
  if (run.table) {
    const table = new StructureTable(data, run, stage);
    page.append(table.element, provenance(run));
    return { page, start: () => table.start(), key: () => false };
  }
  if (!run.trajectory) {
    const plots = seriesPlots(run, () => {}, []);
    page.append(make("div", { class: "plots card" }, ...plots.map((plot) => plot.element)), provenance(run));
    return { page, start() {}, key: () => false };
  }
  const time = frameAbscissa(run);
  const viewer = new TrajectoryCard(stage, data, run.trajectory, (frame) => frameText(run, time, frame));
  const pick = (x) => viewer.player.go(nearest(time.values, x));
  const plots = seriesPlots(run, pick, []);
  const structural = run.plots.map((plot) => structuralPlot(plot, pick));
  viewer.measures.against(time, pick);
  viewer.player.onframe((frame) => {
    for (const plot of plots) plot.setCursor(time.values[frame]);
    for (const plot of structural) if (plot.spec.onpick) plot.setCursor(time.values[frame]);
  });
  const panel = plots.length ? card(null, { class: "plots", "aria-label": "Quantities" }, ...plots.map((plot) => plot.element)) : null;
  const left = make("div", { class: "left" }, viewer.element);
  const right = make("div", { class: "right" }, panel);
  (plots.length > FEW ? left : right).append(viewer.measures.element); // where there is room
  page.append(
    make("div", { class: "pair" }, left, right),
    make("div", { class: "grid" }, ...structural.map((plot) => card(null, {}, plot.element))),
    provenance(run));
  const first = run.kind === "relax" ? viewer.player.count - 1 : 0;
  return { page, start: () => viewer.start(first), key: (event) => viewer.player.key(event), player: viewer.player };
}

function runHead(run) {
  const tiles = make("dl", { class: "tiles" });
  for (const { label, value, unit } of run.outcome) {
    const text = make("dd", { class: value.length > 22 ? "long" : "" }, value, unit ? make("small", { text: ` ${unit}` }) : null);
    tiles.append(make("div", {}, make("dt", { text: label }), text));
  }
  const notes = run.notes.map((text) => make("p", { class: "note", text }));
  return make("header", { class: "head" }, make("p", { class: "kind", text: run.title }), make("h1", { text: run.name }), tiles, ...notes);
}

/** The abscissa at the frames, which are some of the rows of the series. */
function frameAbscissa(run) {
  if (!run.series) return { title: "Frame", unit: "", values: Array.from({ length: run.trajectory.frames }, (_, k) => k) };
  const { x, rows } = run.series;
  return { title: x.title, unit: x.unit, values: rows.map((row) => x.values[row]) };
}

function frameText(run, time, frame) {
  const of = `${frame + 1} / ${run.trajectory.frames}`;
  if (!time.unit) return `${time.title.toLowerCase()} ${time.values[frame]} · ${of}`;
  return `${shortFigure(time.values[frame], time.unit === "ps" ? 0.001 : 1)} ${time.unit} · ${of}`;
}

/**
 * The plots of a run's series; of other runs their lines are laid over where they have the same,
 * each in the color that `placeOf` a run has.
 */
function seriesPlots(run, onpick, others, placeOf = () => 0) {
  if (!run.series) return [];
  const column = { left: 0, plots: [] };
  return run.series.lines.map((line) => {
    const lines = [{ title: run.name, values: line.values, place: placeOf(run) }];
    let { log } = line;
    for (const other of others) {
      const same = other.series.lines.find((l) => l.key === line.key);
      if (!same) continue;
      lines.push({ title: other.name, values: same.values, x: abscissaIn(other, run.series.x.unit), place: placeOf(other) });
      log = log && same.log; // a force of 0 has no place on such an axis
    }
    const note = others.length ? null : line.note;
    return new Plot({ key: line.key, title: line.title, unit: line.unit, note, log, x: run.series.x, lines, onpick, column });
  });
}

/** The abscissa of a run in a unit of time. */
function abscissaIn(run, unit) {
  const { x } = run.series;
  if (x.unit === unit || !x.unit || !unit) return x.values;
  const factor = unit === "ps" ? 1e-3 : 1e3;
  return x.values.map((v) => v * factor);
}

function structuralPlot(plot, onpick) {
  return new Plot({
    key: plot.key, title: plot.title, unit: plot.y.unit, x: plot.x, lines: plot.lines, note: plot.note,
    height: 190, zero: true, top: plot.y.top, onpick: plot.frames ? onpick : null,
  });
}
