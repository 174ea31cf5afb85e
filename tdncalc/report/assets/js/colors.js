// Atoms by element, by a quantity, or by run.

// Viridis at even steps (S. van der Walt and N. Smith, CC0).
const SCALE = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];

function scaleColor(fraction) {
  const place = Math.max(0, Math.min(1, fraction)) * (SCALE.length - 1);
  const k = Math.min(SCALE.length - 2, Math.floor(place));
  const [a, b] = [channels(SCALE[k]), channels(SCALE[k + 1])];
  const [r, g, bl] = a.map((x, c) => Math.round(x + (b[c] - x) * (place - k)));
  return (r << 16) | (g << 8) | bl;
}

function channels(hex) {
  return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
}

const packed = (hex) => parseInt(hex.slice(1), 16);

const LINE_COLORS = 12; // of the theme; twice as many lines differ, the second dozen being dashed

/** The name of a line's color in the theme. */
function lineColorName(k) {
  return `--line-${k % LINE_COLORS}`;
}

/** The style of the k-th line. */
function lineStyle(k) {
  const dashes = k % (2 * LINE_COLORS) < LINE_COLORS ? "none" : "5 3";
  return `stroke:var(${lineColorName(k)});stroke-dasharray:${dashes}`;
}

/** The dot that stands for the k-th line in legends: a ring for a dashed line. */
function lineKey(k) {
  const color = `var(${lineColorName(k)})`;
  const dashed = k % (2 * LINE_COLORS) >= LINE_COLORS;
  return make("i", { style: dashed ? `border:3px solid ${color}` : `background:${color}` });
}

/** A legend of the elements, or of a scale with its ends. */
function colorLegend(scene, elements, coloring) {
  const legend = make("div", { class: "legend" });
  if (!coloring) {
    const counts = new Map();
    for (const z of scene.numbers) counts.set(z, (counts.get(z) || 0) + 1);
    for (const [z, count] of counts) {
      const dot = make("i", { style: `background:${elements[z].color}` });
      legend.append(make("span", {}, dot, `${elements[z].symbol} ${count}`));
    }
    return legend;
  }
  const bar = make("i", { class: "scale", style: `background:linear-gradient(90deg,${SCALE.join(",")})` });
  const unit = coloring.unit ? ` ${coloring.unit}` : "";
  const ends = [`${coloring.title} 0`, `≥ ${shortFigure(coloring.top, coloring.top / 50)}${unit}`];
  legend.append(make("span", { text: ends[0] }), bar, make("span", { text: ends[1] }));
  return legend;
}
