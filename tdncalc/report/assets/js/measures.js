// Distances, angles and dihedrals of atoms that the reader picks, against time.

const MEASURES = [null, null, ["Distance", "Å"], ["Angle", "°"], ["Dihedral", "°"]];

class Measures {
  constructor(trajectory, onchange) {
    this.trajectory = trajectory;
    this.onchange = onchange;
    this.atoms = [];
    this.input = make("input", {
      type: "text", inputmode: "numeric", placeholder: "0, 1", size: 12, "aria-describedby": "measure-help",
      onchange: () => this.#typed(),
    });
    this.place = make("div", { "aria-live": "polite" });
    const help = "Click two atoms for a distance, three for an angle, four for a dihedral, or type their numbers (from 0).";
    this.element = card("Measure", { class: "measure" },
      make("p", { class: "muted", id: "measure-help", text: help }),
      make("div", { class: "options" }, make("label", { class: "choice" }, make("span", { text: "Atoms" }), this.input),
        make("button", { type: "button", class: "quiet", text: "Clear", onclick: () => this.#set([]) })),
      this.place);
  }

  /** Give the measures their abscissa: {title, unit, values} of the frames, and what a pick does. */
  against(x, onpick) {
    this.x = x;
    this.onpick = onpick;
  }

  pick(atom) {
    if (this.atoms.includes(atom)) this.#set(this.atoms.filter((other) => other !== atom));
    else this.#set(this.atoms.length === 4 ? [atom] : [...this.atoms, atom]);
  }

  follow(frame) {
    this.frame = frame;
    if (this.plot) this.plot.setCursor(this.x.values[frame]);
    else if (this.single) this.single.textContent = this.#text(frame);
  }

  #typed() {
    const typed = this.input.value.split(/[^0-9]+/).filter(Boolean).map(Number);
    this.#set([...new Set(typed)].filter((atom) => atom < this.trajectory.numbers.length).slice(0, 4));
  }

  #set(atoms) {
    this.atoms = atoms;
    this.input.value = atoms.join(", ");
    this.onchange(atoms);
    this.plot = this.single = null;
    this.place.replaceChildren();
    if (atoms.length < 2) return;
    if (this.trajectory.count > 1) this.place.append(this.#plotted());
    else this.place.append(this.single = make("p", { class: "figure", text: this.#text(0) }));
    this.follow(this.frame || 0);
  }

  #at(frame) {
    return measured(this.trajectory.positions(frame), this.atoms, this.trajectory.lattice(frame));
  }

  #text(frame) {
    const [title, unit] = MEASURES[this.atoms.length];
    return `${title}: ${figure(this.#at(frame), unit === "Å" ? 3 : 1)} ${unit}`;
  }

  #plotted() {
    const [title, unit] = MEASURES[this.atoms.length];
    const values = Array.from({ length: this.trajectory.count }, (_, frame) => this.#at(frame));
    const names = this.atoms.map((atom) => `${this.trajectory.symbols[atom]} ${atom}`).join(" – ");
    this.plot = new Plot({
      key: "measure", title: `${title} ${names}`, unit, x: this.x, height: 140,
      lines: [{ title, values }], onpick: this.onpick,
    });
    return this.plot.element;
  }
}
