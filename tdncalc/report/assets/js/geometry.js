// Vectors are arrays of three, cells flat arrays of nine with the cell vectors as rows.

const BOND_REACH = 1.25; // of the sum of covalent radii
const SMALL_CELL = 100; // atoms; in a larger cell nobody is bonded to two images of one atom
const EXACT_ATOMS = 1000; // up to here every neighboring image is looked at

function inverse(m) {
  const [a, b, c, d, e, f, g, h, i] = m;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  return [
    e * i - f * h, c * h - b * i, b * f - c * e,
    f * g - d * i, a * i - c * g, c * d - a * f,
    d * h - e * g, b * g - a * h, a * e - b * d,
  ].map((x) => x / det);
}

/** Row vector times matrix. */
function times(v, m) {
  return [
    v[0] * m[0] + v[1] * m[3] + v[2] * m[6],
    v[0] * m[1] + v[1] * m[4] + v[2] * m[7],
    v[0] * m[2] + v[1] * m[5] + v[2] * m[8],
  ];
}

const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const norm = (a) => Math.sqrt(dot(a, a));
const at = (positions, i) => [positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]];

/** A vector less whole multiples of others, at most two, as short as it can be. */
function shortened(vector, others) {
  const along = (v, other) => Math.round(dot(v, other) / dot(other, other));
  const less = (v, other, count) => v.map((x, c) => x - count * other[c]);
  const rounded = others.reduce((v, other) => less(v, other, along(v, other)), vector);
  const add = (found, other) => found.flatMap((v) => [-1, 0, 1].map((count) => less(v, other, count)));
  return others.reduce(add, [rounded]).reduce((best, v) => (norm(v) < norm(best) ? v : best), vector);
}

/** The periodic vectors of a cell, made as short as they can be (Minkowski's). */
function reduced(cell, pbc) {
  const vectors = [0, 1, 2].filter((k) => pbc[k]).map((k) => cell.slice(3 * k, 3 * k + 3));
  for (let k = 0, kept = 0; kept < vectors.length; k = (k + 1) % vectors.length) {
    const shorter = shortened(vectors[k], vectors.filter((_, j) => j !== k));
    kept = norm(shorter) < (1 - 1e-9) * norm(vectors[k]) ? 0 : kept + 1;
    if (!kept) vectors[k] = shorter;
  }
  return vectors;
}

/** Three vectors that begin with some, one at least; the others are upright to these. */
function completed(vectors) {
  const all = [...vectors];
  while (all.length < 3) {
    const aside = all[1] || (Math.abs(all[0][0]) < 0.9 * norm(all[0]) ? [1, 0, 0] : [0, 1, 0]);
    const upright = cross(all[0], aside);
    all.push(upright.map((x) => x / norm(upright)));
  }
  return all;
}

/** Periodic directions, one at least, of one cell: shortest images and places in the cell. */
class Lattice {
  constructor(cell, pbc) {
    this.cell = cell;
    this.pbc = pbc;
    this.inverse = inverse(cell);
    const vectors = reduced(cell, pbc);
    this.periods = vectors.length;
    this.short = completed(vectors).flat();
    this.shortInverse = inverse(this.short);
    this.shifts = [];
    const reach = (k) => (k < this.periods ? [-1, 0, 1] : [0]);
    for (const a of reach(0)) for (const b of reach(1)) for (const c of reach(2)) {
      this.shifts.push(times([a, b, c], this.short));
    }
  }

  /** The shortest image of a vector, in a cell however skewed; `fast` trusts rounding. */
  shortest(vector, fast) {
    const scaled = times(vector, this.shortInverse);
    const rounded = times(scaled.map((x, k) => (k < this.periods ? x - Math.round(x) : x)), this.short);
    if (fast) return rounded;
    let best = rounded;
    for (const s of this.shifts) {
      const image = [rounded[0] + s[0], rounded[1] + s[1], rounded[2] + s[2]];
      if (dot(image, image) < dot(best, best)) best = image;
    }
    return best;
  }

  /** What to add to a point so that it lies in the cell. */
  home(point) {
    const scaled = times(point, this.inverse);
    return times(scaled.map((x, k) => (this.pbc[k] ? -Math.floor(x + 1e-6) : 0)), this.cell);
  }
}

/** Bonds as pairs [i, j], by covalent radii, between points as they are drawn. */
function findBonds(positions, radii) {
  const n = radii.length;
  const size = 2 * BOND_REACH * Math.max(...new Set(radii));
  const boxes = new Map();
  const key = (x, y, z) => (x * 73856093) ^ (y * 19349663) ^ (z * 83492791);
  const bonds = [];
  for (let i = 0; i < n; i++) {
    const box = [0, 1, 2].map((k) => Math.floor(positions[3 * i + k] / size));
    for (let x = -1; x < 2; x++) for (let y = -1; y < 2; y++) for (let z = -1; z < 2; z++) {
      const place = [box[0] + x, box[1] + y, box[2] + z];
      for (const j of boxes.get(key(...place)) || []) {
        if (j.box[0] === place[0] && j.box[1] === place[1] && j.box[2] === place[2] && bonded(positions, radii, i, j.atom)) {
          bonds.push([j.atom, i]);
        }
      }
    }
    const own = key(...box);
    if (!boxes.has(own)) boxes.set(own, []);
    boxes.get(own).push({ atom: i, box });
  }
  return bonds;
}

function bonded(positions, radii, i, j) {
  const reach = BOND_REACH * (radii[i] + radii[j]);
  const d = minus(at(positions, i), at(positions, j));
  const square = dot(d, d);
  return square < reach * reach && square > 0.01;
}

/**
 * How to draw molecules whole: for each atom the one that it is placed next to, in order, and for
 * each molecule its atoms. Null where bonds go on without end, as in a covalent crystal.
 */
function findMolecules(positions, radii, lattice) {
  const n = radii.length;
  if (n <= SMALL_CELL && meetsItself(positions, radii, lattice)) return null;
  const fast = n > EXACT_ATOMS;
  const neighbors = Array.from({ length: n }, () => []);
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) {
    const reach = BOND_REACH * (radii[i] + radii[j]);
    const d = lattice.shortest(minus(at(positions, i), at(positions, j)), fast);
    if (dot(d, d) < reach * reach) neighbors[i].push(j), neighbors[j].push(i);
  }
  const placed = new Array(n).fill(null);
  const molecules = [];
  for (let root = 0; root < n; root++) {
    if (placed[root]) continue;
    placed[root] = at(positions, root);
    const links = [[root, root]];
    for (let k = 0; k < links.length; k++) {
      const atom = links[k][0];
      for (const other of neighbors[atom]) {
        const step = lattice.shortest(minus(at(positions, other), at(positions, atom)), fast);
        const place = placed[atom].map((x, c) => x + step[c]);
        if (!placed[other]) placed[other] = place, links.push([other, atom]);
        else if (norm(minus(place, placed[other])) > 0.1) return null;
      }
    }
    molecules.push(links);
  }
  return molecules;
}

/** Whether an atom is bonded to two images of one atom, or to one of its own. */
function meetsItself(positions, radii, lattice) {
  for (let i = 0; i < radii.length; i++) for (let j = 0; j <= i; j++) {
    const reach = BOND_REACH * (radii[i] + radii[j]);
    const d = lattice.shortest(minus(at(positions, i), at(positions, j)));
    const near = lattice.shifts.filter((s) => norm([d[0] + s[0], d[1] + s[1], d[2] + s[2]]) < reach);
    if (near.length > 1) return true;
  }
  return false;
}

/** Positions as they are drawn in a periodic structure: whole molecules, or atoms in the cell. */
function drawnPositions(positions, lattice, molecules) {
  const drawn = Float32Array.from(positions);
  const groups = molecules || Array.from({ length: positions.length / 3 }, (_, i) => [[i, i]]);
  const fast = positions.length / 3 > EXACT_ATOMS;
  for (const links of groups) {
    const center = [0, 0, 0];
    for (const [atom, parent] of links) {
      if (atom !== parent) {
        const step = lattice.shortest(minus(at(positions, atom), at(positions, parent)), fast);
        for (let k = 0; k < 3; k++) drawn[3 * atom + k] = drawn[3 * parent + k] + step[k];
      }
      for (let k = 0; k < 3; k++) center[k] += drawn[3 * atom + k] / links.length;
    }
    const shift = lattice.home(center);
    for (const [atom] of links) for (let k = 0; k < 3; k++) drawn[3 * atom + k] += shift[k];
  }
  return drawn;
}

/** Distance (Å), angle or dihedral (degrees) of two, three or four atoms, by shortest images. */
function measured(positions, atoms, lattice) {
  const steps = [];
  for (let k = 1; k < atoms.length; k++) {
    const step = minus(at(positions, atoms[k]), at(positions, atoms[k - 1]));
    steps.push(lattice ? lattice.shortest(step) : step);
  }
  if (steps.length === 1) return norm(steps[0]);
  const degrees = 180 / Math.PI;
  if (steps.length === 2) {
    const cosine = -dot(steps[0], steps[1]) / (norm(steps[0]) * norm(steps[1]));
    return degrees * Math.acos(Math.max(-1, Math.min(1, cosine)));
  }
  const [a, b, c] = steps;
  const [n1, n2] = [cross(a, b), cross(b, c)];
  return degrees * Math.atan2(dot(cross(n1, n2), b) / norm(b), dot(n1, n2));
}

/** The axes of a structure, longest first, as rows of a rotation. */
function principalAxes(positions) {
  const n = positions.length / 3;
  const center = [0, 0, 0];
  for (let i = 0; i < n; i++) for (let k = 0; k < 3; k++) center[k] += positions[3 * i + k] / n;
  const moment = [0, 1, 2].map(() => [0, 0, 0]);
  for (let i = 0; i < n; i++) {
    const r = minus(at(positions, i), center);
    for (let a = 0; a < 3; a++) for (let b = 0; b < 3; b++) moment[a][b] += r[a] * r[b];
  }
  const longest = leadingAxis(moment, [1, 0.3, 0.2]);
  const size = dot(longest, moment.map((row) => dot(row, longest)));
  const rest = moment.map((row, a) => row.map((x, b) => x - size * longest[a] * longest[b]));
  const across = cross(longest, Math.abs(longest[2]) < 0.9 ? [0, 0, 1] : [0, 1, 0]);
  // Askew: a start along an axis of a flat molecule would stay on it.
  const start = cross(longest, across).map((x, k) => x + 0.7 * across[k]);
  let second = leadingAxis(rest, start);
  second = minus(second, longest.map((x) => x * dot(second, longest)));
  if (norm(second) < 1e-6) second = start;
  second = second.map((x) => x / norm(second));
  return { center, axes: [longest, second, cross(longest, second)] };
}

function leadingAxis(matrix, start) {
  let v = start.map((x) => x / norm(start));
  for (let k = 0; k < 60; k++) {
    const next = matrix.map((row) => dot(row, v));
    const size = norm(next);
    if (size < 1e-9) return v;
    v = next.map((x) => x / size);
  }
  return v;
}

/** The quaternion [x, y, z, w] of a rotation whose rows are axes. */
function quaternion([r0, r1, r2]) {
  const trace = r0[0] + r1[1] + r2[2];
  if (trace > 0) {
    const s = 2 * Math.sqrt(trace + 1);
    return [(r2[1] - r1[2]) / s, (r0[2] - r2[0]) / s, (r1[0] - r0[1]) / s, s / 4];
  }
  const rows = [r0, r1, r2];
  const i = [0, 1, 2].reduce((a, b) => (rows[b][b] > rows[a][a] ? b : a), 0);
  const j = (i + 1) % 3, k = (i + 2) % 3;
  const s = 2 * Math.sqrt(Math.max(1e-12, 1 + rows[i][i] - rows[j][j] - rows[k][k]));
  const q = [0, 0, 0, (rows[k][j] - rows[j][k]) / s];
  q[i] = s / 4;
  q[j] = (rows[j][i] + rows[i][j]) / s;
  q[k] = (rows[k][i] + rows[i][k]) / s;
  return q;
}
