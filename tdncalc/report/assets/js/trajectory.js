// The picture, the player and the measures of one trajectory.

const LARGE = 400; // atoms

/** One trajectory, ready to be drawn frame by frame. */
class Trajectory {
  constructor(data, described) {
    this.data = data;
    this.numbers = described.numbers;
    this.count = described.frames;
    this.pbc = described.pbc;
    this.colorings = described.colorings || [];
    this.all = data.unpack(described.positions);
    this.cells = described.cells ? data.unpack(described.cells) : null;
    this.fixed = this.cells !== null && described.cells.shape[0] === 1;
    this.radii = this.numbers.map((z) => data.elements[z].radius);
    this.symbols = this.numbers.map((z) => data.elements[z].symbol);
    this.byElement = this.numbers.map((z) => packed(data.elements[z].color));
    this.periodic = this.cells !== null && this.pbc.some(Boolean);
    if (this.periodic && this.numbers.length <= 3000) {
      this.molecules = findMolecules(this.positions(0), this.radii, this.lattice(0));
    }
    this.repeat = this.periodic && !this.molecules && this.numbers.length <= 16 ? 2 : 1;
  }

  positions(frame) {
    const size = 3 * this.numbers.length;
    return this.all.subarray(frame * size, (frame + 1) * size);
  }

  cell(frame) {
    return this.cells && Array.from(this.fixed ? this.cells : this.cells.subarray(9 * frame, 9 * frame + 9));
  }

  lattice(frame) {
    if (!this.periodic) return null;
    if (this.fixed && this.kept) return this.kept;
    this.kept = new Lattice(this.cell(frame), this.pbc);
    return this.kept;
  }

  colors(frame, coloring) {
    if (!coloring) return this.byElement;
    const n = this.numbers.length;
    const values = this.data.unpack(coloring.values).subarray(frame * n, (frame + 1) * n);
    return Array.from(values, (v) => scaleColor(v / coloring.top));
  }

  /** What the stage draws: the atoms of a frame, repeated along periodic directions. */
  scene(frame, coloring) {
    const lattice = this.lattice(frame);
    let positions = this.positions(frame);
    if (this.periodic) positions = drawnPositions(positions, lattice, this.molecules);
    const scene = {
      positions, symbols: this.symbols, radii: this.radii, cell: this.cell(frame),
      colors: this.colors(frame, coloring),
    };
    return this.repeat > 1 ? this.#repeated(scene) : scene;
  }

  #repeated(scene) {
    const shifts = [];
    const ends = this.pbc.map((periodic) => (periodic ? this.repeat : 1));
    for (let a = 0; a < ends[0]; a++) for (let b = 0; b < ends[1]; b++) for (let c = 0; c < ends[2]; c++) {
      shifts.push(times([a, b, c], scene.cell));
    }
    const n = scene.symbols.length;
    const positions = new Float32Array(3 * n * shifts.length);
    shifts.forEach((shift, s) => {
      for (let i = 0; i < 3 * n; i++) positions[3 * n * s + i] = scene.positions[i] + shift[i % 3];
    });
    if (!this.repeatedSymbols || this.repeatedSymbols.length !== n * shifts.length) {
      this.repeatedSymbols = shifts.flatMap(() => scene.symbols);
      this.repeatedRadii = shifts.flatMap(() => scene.radii);
    }
    return {
      ...scene, positions, symbols: this.repeatedSymbols, radii: this.repeatedRadii,
      colors: shifts.flatMap(() => scene.colors),
    };
  }
}

/** The card with the picture, its player, and the choice of style and colors. */
class TrajectoryCard {
  constructor(stage, data, described, describe) {
    this.stage = stage;
    this.elements = data.elements;
    this.trajectory = new Trajectory(data, described);
    this.coloring = null;
    this.player = new Player(this.trajectory.count, describe);
    this.measures = new Measures(this.trajectory, (atoms) => this.#mark(atoms));
    this.legend = make("div", {});
    this.element = card(null, { class: "viewer", "aria-label": "Structure in 3D" });
    this.stage.mount(this.element);
    this.stage.element.setAttribute("aria-label", `3D picture of ${this.trajectory.numbers.length} atoms; drag to turn it, click atoms to measure`);
    if (this.trajectory.count > 1) this.element.append(this.player.element);
    this.element.append(this.#options(), this.legend);
    this.player.onframe((frame) => this.#draw(frame));
    this.stage.onpick = (atom) => this.measures.pick(atom % this.trajectory.numbers.length);
    this.stage.style = this.trajectory.numbers.length > LARGE ? "sticks" : "balls";
  }

  /** Draw the first picture, once the card is on the page. */
  start(frame) {
    this.player.go(frame);
    this.stage.face();
    this.#tell();
  }

  #draw(frame) {
    this.stage.draw(this.trajectory.scene(frame, this.coloring));
    this.measures.follow(frame);
  }

  #mark(atoms) {
    this.stage.mark(atoms, atoms.map((atom) => `${this.trajectory.symbols[atom]} ${atom}`));
  }

  #tell() {
    this.legend.replaceChildren(colorLegend(this.trajectory, this.elements, this.coloring));
  }

  #options() {
    const { colorings, periodic } = this.trajectory;
    const again = () => this.#draw(this.player.frame);
    const styles = Object.entries(STYLES).map(([key, { name }]) => [key, name]);
    const options = make("div", { class: "options" });
    options.append(choice("Style", styles, this.trajectory.numbers.length > LARGE ? "sticks" : "balls", (key) => { this.stage.style = key; again(); }));
    if (colorings.length) {
      const names = [["", "Element"], ...colorings.map((c, k) => [String(k), c.title])];
      options.append(choice("Color", names, "", (key) => {
        this.coloring = key === "" ? null : colorings[Number(key)];
        this.#tell();
        again();
      }));
    }
    if (periodic) {
      const cells = [["1", "1"], ["2", "2 each way"], ["3", "3 each way"]];
      options.append(choice("Cells", cells, String(this.trajectory.repeat), (key) => {
        this.trajectory.repeat = Number(key);
        again();
        this.stage.face();
      }));
    }
    options.append(make("button", { type: "button", class: "quiet", text: "Reset view", onclick: () => this.stage.face() }));
    return options;
  }
}
