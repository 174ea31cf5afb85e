// Small plots in SVG: lines over one abscissa, with a cursor that follows the frame.

const MARGIN = { top: 6, right: 10, bottom: 22 };

/** Round values inside a range, about `count` of them, and their distance, which is `least` or more. */
function niceTicks(low, high, count, least = 0) {
  const rough = Math.max(least, (high - low) / Math.max(1, count)) || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(k * step);
  return { ticks, step };
}

class Plot {
  /**
   * @param spec title, unit, x {title, unit, values}, lines [{title, values, x, place}], log,
   *   height, top (where lines are cut unless one is alone), note, column {left, plots} shared by plots below each other; onpick(x) is called where the reader points and clicks
   */
  constructor(spec) {
    this.spec = { ...spec, lines: spec.lines.map((line, k) => ({ place: k, ...line })) };
    this.hidden = new Set();
    this.cursor = null;
    this.value = make("span", { class: "value" });
    this.svg = makeSvg("svg", { role: "img" });
    this.frame = make("div", { class: "plot-frame" }, this.svg);
    const heading = make("h4", {}, spec.title);
    const head = make("div", { class: "plot-head" }, heading, this.value);
    this.element = make("figure", { class: "plot", "data-key": spec.key || "" }, head, this.#legend(), this.frame,
      spec.note ? make("figcaption", { class: "muted", text: spec.note }) : null);
    this.svg.setAttribute("aria-label", this.#summary());
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(this.frame);
  }

  setCursor(x) {
    this.cursor = x;
    this.#place();
  }

  draw() {
    const width = this.frame.clientWidth, height = this.spec.height || 118;
    if (width < 40) return;
    this.#scale(width, height);
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren(...this.#axes(width, height));
    this.spec.lines.forEach((line, k) => {
      if (this.hidden.has(k)) return;
      const d = this.#path(line, width);
      this.svg.append(makeSvg("path", { class: "line", d, style: lineStyle(line.place) }));
    });
    this.rule = makeSvg("line", { class: "cursor", y1: MARGIN.top, y2: height - MARGIN.bottom });
    this.dots = this.spec.lines.map(({ place }) => makeSvg("circle", { class: "dot", r: 3.5, style: `fill:var(${lineColorName(place)})` }));
    this.svg.append(this.rule, ...this.dots);
    this.#place();
  }

  #legend() {
    const { lines } = this.spec;
    if (lines.length < 2) return null;
    const legend = make("div", { class: "legend" });
    lines.forEach((line, k) => {
      const button = make("button", { type: "button", class: "key", "aria-pressed": "true", onclick: () => {
        if (this.hidden.has(k)) this.hidden.delete(k);
        else if (this.hidden.size < lines.length - 1) this.hidden.add(k);
        button.setAttribute("aria-pressed", String(!this.hidden.has(k)));
        this.draw();
      } }, lineKey(line.place), line.title);
      legend.append(button);
    });
    return legend;
  }

  #summary() {
    const { title, unit, x, lines } = this.spec;
    const values = lines.flatMap((line) => line.values).filter((v) => v !== null);
    let low = Infinity, high = -Infinity;
    for (const v of values) low = Math.min(low, v), high = Math.max(high, v);
    const range = `between ${shortFigure(low)} and ${shortFigure(high)} ${unit || ""}`.trim();
    return `${title} against ${x.title.toLowerCase()}, ${range}`;
  }

  #shown() {
    return this.spec.lines.filter((_, k) => !this.hidden.has(k));
  }

  #scale(width, height) {
    const { log } = this.spec;
    let [low, high, x0, x1] = [Infinity, -Infinity, Infinity, -Infinity];
    for (const line of this.#shown()) {
      for (const v of line.values) if (v !== null) low = Math.min(low, v), high = Math.max(high, v);
      for (const v of (line.x || this.spec.x.values)) if (v !== null) x0 = Math.min(x0, v), x1 = Math.max(x1, v);
    }
    if (log) {
      [low, high] = [Math.log10(low), Math.log10(high)];
      if (high - low < 0.3) low -= 0.2, high += 0.2;
    }
    if (this.spec.zero) low = Math.min(low, 0);
    if (this.spec.top && this.#shown().length > 1) high = Math.min(high, this.spec.top);
    const pad = (high - low) * 0.06 || Math.abs(high) * 1e-6 || 1;
    this.low = low - (this.spec.zero && low === 0 ? 0 : pad);
    this.high = high + pad;
    this.x0 = x0;
    this.x1 = x1 > x0 ? x1 : x0 + 1;
    this.left = this.#leftMargin();
    this.toX = (v) => this.left + ((v - this.x0) / (this.x1 - this.x0)) * (width - this.left - MARGIN.right);
    const top = MARGIN.top, bottom = height - MARGIN.bottom;
    const share = (v) => ((log ? Math.log10(v) : v) - this.low) / (this.high - this.low);
    this.toY = (v) => Math.max(0, bottom - share(v) * (bottom - top)); // what is cut ends at the edge
  }

  /** Room for the ticks; plots that stand in one column take the same. */
  #leftMargin() {
    const own = Math.max(34, 10 + 6.4 * Math.max(...this.#yTicks().map(([, text]) => text.length)));
    const { column } = this.spec;
    if (!column) return own;
    const others = column.plots.filter((plot) => plot !== this);
    column.plots = [...others, this];
    if (own > column.left) {
      column.left = own;
      for (const plot of others) plot.draw();
    }
    return column.left;
  }

  #yTicks() {
    if (this.spec.log) {
      const texts = [];
      for (let k = Math.ceil(this.low); k <= this.high; k++) texts.push([10 ** k, shortFigure(10 ** k, 10 ** k)]);
      if (texts.length > 1) return texts;
      return [10 ** this.low, 10 ** ((this.low + this.high) / 2), 10 ** this.high].map((v) => [v, v.toPrecision(2)]);
    }
    const { ticks, step } = niceTicks(this.low, this.high, (this.spec.height || 118) > 160 ? 5 : 4);
    return ticks.map((v) => [v, shortFigure(v, step)]);
  }

  #axes(width, height) {
    const marks = [];
    for (const [v, text] of this.#yTicks()) {
      const y = this.toY(v);
      marks.push(makeSvg("line", { class: "gridline", x1: this.left, x2: width - MARGIN.right, y1: y, y2: y }));
      marks.push(makeSvg("text", { class: "tick", x: this.left - 6, y: y + 3.5, "text-anchor": "end", text }));
    }
    const { title, unit } = this.spec.x;
    const { ticks, step } = niceTicks(this.x0, this.x1, Math.max(2, width / 62), unit ? 0 : 1); // whole steps and frames
    const last = `${title}${unit ? ` (${unit})` : ""}`;
    for (const v of ticks) {
      const x = this.toX(v);
      if (x > width - MARGIN.right - 6.2 * last.length - 14) continue;
      marks.push(makeSvg("text", { class: "tick", x, y: height - 7, "text-anchor": "middle", text: shortFigure(v, step) }));
    }
    marks.push(makeSvg("text", { class: "tick", x: width - MARGIN.right, y: height - 7, "text-anchor": "end", text: last }));
    return marks;
  }

  /** The line; of many points in one column of pixels the lowest and the highest are kept. */
  #path(line, width) {
    const xs = line.x || this.spec.x.values, ys = line.values;
    const parts = [];
    let column = null, low = null, high = null, pen = "M";
    const flush = () => {
      if (column === null) return;
      for (const [x, y] of low[0] < high[0] ? [low, high] : [high, low]) {
        parts.push(`${pen}${this.toX(xs[x]).toFixed(1)} ${this.toY(y).toFixed(1)}`);
        pen = "L";
        if (low[0] === high[0]) break;
      }
    };
    const perColumn = ys.length / width > 2;
    for (let i = 0; i < ys.length; i++) {
      if (ys[i] === null || xs[i] === null) { flush(); column = null; pen = "M"; continue; }
      const place = perColumn ? Math.round(this.toX(xs[i])) : i;
      if (place !== column) {
        flush();
        column = place, low = [i, ys[i]], high = [i, ys[i]];
      } else {
        if (ys[i] < low[1]) low = [i, ys[i]];
        if (ys[i] > high[1]) high = [i, ys[i]];
      }
    }
    flush();
    return parts.join("");
  }

  #place(at = this.cursor) {
    if (!this.rule) return;
    const visible = at !== null && at >= this.x0 - 1e-9 && at <= this.x1 + 1e-9;
    this.rule.setAttribute("visibility", visible ? "visible" : "hidden");
    const texts = [];
    this.spec.lines.forEach((line, k) => {
      const index = visible && !this.hidden.has(k) ? nearest(line.x || this.spec.x.values, at) : -1;
      const y = index < 0 ? null : line.values[index];
      this.dots[k].setAttribute("visibility", y === null || y === undefined ? "hidden" : "visible");
      if (y === null || y === undefined) return;
      this.dots[k].setAttribute("cx", this.toX((line.x || this.spec.x.values)[index]));
      this.dots[k].setAttribute("cy", this.toY(y));
      texts.push(this.spec.log ? y.toPrecision(3) : shortFigure(y, (this.high - this.low) / 200));
    });
    if (visible) this.rule.setAttribute("x1", this.toX(at)), this.rule.setAttribute("x2", this.toX(at));
    const unit = this.spec.unit ? ` ${this.spec.unit}` : "";
    const few = texts.length > 0 && texts.length < 4;
    this.value.textContent = few ? texts.join(" · ") + unit : this.spec.unit || "";
  }

  #listen() {
    const xOf = (event) => {
      const box = this.svg.getBoundingClientRect();
      const inside = (event.clientX - box.left - this.left) / (box.width - this.left - MARGIN.right);
      return this.x0 + Math.max(0, Math.min(1, inside)) * (this.x1 - this.x0);
    };
    this.svg.addEventListener("pointermove", (event) => {
      if (event.buttons && this.spec.onpick) this.spec.onpick(xOf(event));
      else if (!event.buttons) this.#place(xOf(event));
    });
    this.svg.addEventListener("pointerleave", () => this.#place());
    this.svg.addEventListener("pointerdown", (event) => {
      if (!this.spec.onpick) return;
      this.svg.setPointerCapture(event.pointerId);
      this.spec.onpick(xOf(event));
    });
    if (this.spec.onpick) this.svg.classList.add("picks");
  }
}

/** The index of the value nearest to x among rising values. */
function nearest(values, x) {
  let low = 0, high = values.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (values[middle] <= x) low = middle;
    else high = middle;
  }
  return high >= 0 && Math.abs(values[high] - x) < Math.abs(values[low] - x) ? high : low;
}
