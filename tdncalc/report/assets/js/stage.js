// The 3D picture: what is drawn on it is a list of atoms with places and colors.

// Styles of all atoms, and of those without bonds where that is another.
const STYLES = {
  balls: { name: "Balls and sticks", style: { stick: { radius: 0.12 }, sphere: { scale: 0.27 } } },
  sticks: { name: "Sticks", style: { stick: { radius: 0.16 } }, lone: { sphere: { scale: 0.27 } } },
  spheres: { name: "Spheres", style: { sphere: { scale: 0.8 } } },
};

const [CAMERA, VIEW] = [150, 20]; // where 3Dmol's camera is, and its angle of view in degrees
const MARGIN_A = 1.2; // around the outermost atoms
const CORNER = [[0.914, 0, -0.407], [0.112, 0.961, 0.252], [0.391, -0.276, 0.878]];

async function loadViewer() {
  const source = new TextDecoder().decode(await inflated("viewer"));
  document.head.append(make("script", { text: source }));
  return window.$3Dmol;
}

/** The corners of a cell, the last direction running fastest. */
function cornersOf(cell) {
  if (!cell) return [];
  return Array.from({ length: 8 }, (_, k) => times([(k >> 2) & 1, (k >> 1) & 1, k & 1], cell));
}

class Stage {
  constructor() {
    this.element = make("div", { class: "stage", tabindex: 0, role: "img" });
    this.style = "balls";
    this.viewer = null;
    this.model = null;
    this.marks = [];
    this.box = null;
    this.onpick = null;
    // The wheel scrolls the page until the picture has the focus.
    this.element.addEventListener("wheel", (event) => {
      if (document.activeElement !== this.element) event.stopPropagation();
    }, { capture: true });
    this.element.addEventListener("pointerdown", (event) => {
      this.element.focus({ preventScroll: true });
      this.pressed = [event.clientX, event.clientY];
    }, { capture: true });
    this.element.addEventListener("pointerup", (event) => this.#released(event), { capture: true });
    this.observer = new ResizeObserver(() => this.#resized());
  }

  /** Put the picture into a parent. */
  mount(parent) {
    parent.prepend(this.element);
  }

  /** Begin to draw: what was to be drawn so far waited for this. */
  begin(library) {
    try {
      this.viewer = library.createViewer(this.element, {
        backgroundColor: "white", backgroundAlpha: 0, antialias: true, disableFog: true, 
      });
    } catch (error) {
      this.element.append(make("p", { class: "muted", text: `No 3D picture: WebGL is not available (${error.message}).` }));
      return;
    }
    this.size = [this.element.clientWidth, this.element.clientHeight];
    this.observer.observe(this.element);
    if (this.scene) this.face(), this.draw(this.scene);
  }

  #resized() {
    const size = [this.element.clientWidth, this.element.clientHeight];
    if (size[0] * size[1] === 0 || size.join() === this.size.join()) return;
    this.size = size;
    this.viewer.resize();
  }

  /**
   * Draw atoms.
   * @param scene symbols, radii, positions (flat), colors (numbers), cell (nine numbers or null),
   *   groups (only atoms of the same group are bonded; optional)
   */
  draw(scene) {
    this.scene = scene;
    if (!this.viewer) return;
    const n = scene.symbols.length;
    if (!this.model || this.model.selectedAtoms({}).length !== n || this.symbols !== scene.symbols) {
      this.viewer.removeAllModels();
      this.model = this.viewer.addModel();
      this.model.addAtoms(scene.symbols.map((elem) => ({ elem, x: 0, y: 0, z: 0 })));
      this.symbols = scene.symbols;
    }
    const atoms = this.model.selectedAtoms({});
    for (let i = 0; i < n; i++) {
      const atom = atoms[i];
      atom.x = scene.positions[3 * i];
      atom.y = scene.positions[3 * i + 1];
      atom.z = scene.positions[3 * i + 2];
      atom.color = scene.colors[i];
      atom.bonds = [];
      atom.bondOrder = [];
    }
    for (const [i, j] of findBonds(scene.positions, scene.radii)) {
      if (scene.groups && scene.groups[i] !== scene.groups[j]) continue;
      atoms[i].bonds.push(j), atoms[i].bondOrder.push(1);
      atoms[j].bonds.push(i), atoms[j].bondOrder.push(1);
    }
    const { style, lone } = STYLES[this.style];
    this.model.setStyle({}, style);
    if (lone) this.model.setStyle({ bonds: 0 }, lone); // an atom without bonds has no stick
    this.#drawCell(scene.cell);
    this.#drawMarks();
    this.viewer.render();
  }

  /** Look at a molecule along its shortest axis, at a cell from a corner, as near as all fits. */
  face() {
    if (!this.viewer) return;
    const { cell, positions } = this.scene;
    const axes = cell ? CORNER : principalAxes(positions).axes;
    const points = [...cornersOf(cell), ...this.scene.symbols.map((_, i) => at(positions, i))];
    const [low, high] = [[Infinity, Infinity, Infinity], [-Infinity, -Infinity, -Infinity]];
    for (const point of points) axes.forEach((axis, k) => {
      low[k] = Math.min(low[k], dot(axis, point));
      high[k] = Math.max(high[k], dot(axis, point));
    });
    const middle = low.map((x, k) => (x + high[k]) / 2);
    const half = low.map((x, k) => Math.max((high[k] - x) / 2 + MARGIN_A, 2.6));
    const [width, height] = this.size;
    const distance = half[2] + Math.max(half[1], (half[0] * height) / width) / Math.tan((VIEW / 2) * (Math.PI / 180));
    const depth = 2 * norm(half) + 50;
    this.viewer.setSlab(-depth, depth);
    const center = [0, 1, 2].map((c) => axes.reduce((sum, axis, k) => sum - axis[c] * middle[k], 0));
    this.viewer.setView([...center, CAMERA - distance, ...quaternion(axes)]);
  }

  /** Mark atoms by their places in the scene, with texts. */
  mark(atoms, texts) {
    this.marked = atoms.map((atom, k) => ({ atom, text: texts[k] }));
    if (!this.viewer || !this.scene) return;
    this.#drawMarks();
    this.viewer.render();
  }

  #drawMarks() {
    for (const shape of this.marks) this.viewer.removeShape(shape);
    if (this.marks.length) this.viewer.removeAllLabels();
    this.marks = [];
    const accent = css("--accent");
    for (const { atom, text } of this.marked || []) {
      const [x, y, z] = at(this.scene.positions, atom);
      const radius = 0.62;
      this.marks.push(this.viewer.addSphere({ center: { x, y, z }, radius, color: accent, alpha: 0.4 }));
      this.viewer.addLabel(text, {
        position: { x, y, z }, fontSize: 12, fontColor: css("--text"), backgroundColor: css("--surface"),
        backgroundOpacity: 0.85, borderThickness: 0, inFront: true, screenOffset: { x: 10, y: 10 },
      }, null, true);
    }
  }

  #drawCell(cell) {
    const wanted = cell ? [...cell, css("--edge")].join() : "";
    if (this.boxOf === wanted) return;
    this.boxOf = wanted;
    if (this.box) this.viewer.removeShape(this.box);
    this.box = null;
    if (!cell) return;
    this.box = this.viewer.addShape({ color: css("--edge") });
    const corners = cornersOf(cell).map(([x, y, z]) => ({ x, y, z }));
    const corner = (a, b, c) => corners[4 * a + 2 * b + c];
    const radius = 0.012 + 0.003 * Math.cbrt(Math.abs(dot(cross(cell.slice(0, 3), cell.slice(3, 6)), cell.slice(6, 9))));
    for (const [p, q] of [[0, 0], [0, 1], [1, 0], [1, 1]]) {
      for (const ends of [[[0, p, q], [1, p, q]], [[p, 0, q], [p, 1, q]], [[p, q, 0], [p, q, 1]]]) {
        this.box.addCylinder({ start: corner(...ends[0]), end: corner(...ends[1]), radius, fromCap: 2, toCap: 2 });
      }
    }
  }

  #released(event) {
    if (!this.viewer || !this.onpick || !this.pressed) return;
    const [x, y] = this.pressed;
    if (Math.hypot(event.clientX - x, event.clientY - y) > 4) return;
    const atom = this.#atomAt(event.pageX, event.pageY);
    if (atom !== null) this.onpick(atom);
  }

  /** The atom under a point of the page: of those near it, the one in front. */
  #atomAt(pageX, pageY) {
    const { positions, symbols } = this.scene;
    const points = symbols.map((_, i) => ({ x: positions[3 * i], y: positions[3 * i + 1], z: positions[3 * i + 2] }));
    const [qx, qy, qz, qw] = this.viewer.getView().slice(4);
    const towards = [2 * (qx * qz - qw * qy), 2 * (qy * qz + qw * qx), 1 - 2 * (qx * qx + qy * qy)];
    let best = null, front = -Infinity;
    this.viewer.modelToScreen(points).forEach((point, i) => {
      const far = Math.hypot(point.x - pageX, point.y - pageY);
      const depth = dot(at(positions, i), towards) - 0.15 * far;
      if (far < 16 && depth > front) best = i, front = depth;
    });
    return best;
  }
}
