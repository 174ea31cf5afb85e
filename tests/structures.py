"""The table of awkward structures: whatever computes something from a structure is tested on all.

Only elements of organic models, and a cell of three vectors wherever something is periodic.
"""

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.build import bulk, make_supercell, molecule

_ASPIRIN = """
C 3.404 0.554 0.055    C 2.044 0.139 0.531    O 1.689 0.144 1.703    O 1.288 -0.266 -0.564
C -0.028 -0.585 -0.219 C -0.328 -1.942 -0.067 C -1.629 -2.330 0.248  C -2.626 -1.367 0.398
C -2.327 -0.011 0.227  C -1.022 0.397 -0.091  C -0.703 1.833 -0.303  O 0.361 2.305 -0.659
O -1.756 2.637 -0.059  H 3.924 -0.305 -0.374  H 3.984 0.930 0.903    H 3.311 1.356 -0.682
H 0.449 -2.692 -0.186  H -1.866 -3.384 0.378  H -3.641 -1.670 0.647  H -3.124 0.719 0.343
H -1.404 3.538 -0.219
"""
_CHFCLBR = """
C -0.042 0.117 -0.076  F -0.009 1.234 0.694   Cl -1.429 -0.877 0.367 Br 1.600 -0.886 0.141
H -0.120 0.412 -1.126
"""
_POLYETHYLENE = """
C 0.000 0.000 0.000    H 0.900 0.600 0.000    H -0.900 0.600 0.000
C 0.000 -0.850 1.270   H 0.900 -1.450 1.270   H -0.900 -1.450 1.270
"""


def _parse(table: str) -> Atoms:
    words = table.split()
    positions = np.array([words[k::4] for k in (1, 2, 3)], dtype=float).T
    return Atoms(words[::4], positions)


def _rattled(atoms: Atoms, seed: int = 3, width: float = 0.05) -> Atoms:
    atoms.rattle(width, seed=seed)
    return atoms


def _in_cell(atoms: Atoms, cell: object, pbc: object = True) -> Atoms:
    atoms.set_cell(cell)
    atoms.pbc = pbc
    return atoms


def _two_far_atoms() -> Atoms:
    return Atoms("CO", [[0, 0, 0], [0, 0, 500.0]])


def _all_elements() -> Atoms:
    symbols = ["H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Br", "I"]
    corners = np.stack(np.meshgrid([0, 2.1], [0, 2.2], [0, 2.0, 4.1]), axis=-1).reshape(-1, 3)
    return _rattled(Atoms(symbols, corners), width=0.1)


def _one_atom_fcc() -> Atoms:
    return bulk("Si", "fcc", a=3.9)


def _skewed_cell() -> Atoms:
    # The same crystal in a cell with an angle of 11 degrees: its planes are much nearer than its
    # vectors are long.
    atoms = make_supercell(bulk("Si"), [[1, 0, 0], [4, 1, 0], [-3, 2, 1]])
    return _rattled(atoms)


def _left_handed_cell() -> Atoms:
    atoms = _rattled(bulk("C", "diamond", a=3.57, cubic=True))
    return _in_cell(atoms, atoms.cell.array[[1, 0, 2]] + [[0.1, 0, 0], [0, 0, 0], [0.2, 0.3, 0]])


def _slab() -> Atoms:
    atoms = bulk("Si", cubic=True) * (1, 1, 2)
    atoms.center(vacuum=4.0, axis=2)
    atoms.pbc = (True, True, False)
    return _rattled(atoms)


def _wire() -> Atoms:
    chain = _parse(_POLYETHYLENE)
    return _rattled(_in_cell(chain, np.diag([9.0, 9.0, 2.54]), (False, False, True)))


def _outside_the_cell() -> Atoms:
    atoms = _rattled(bulk("C", "diamond", a=3.57, cubic=True))
    images = np.random.default_rng(5).integers(-3, 4, size=(len(atoms), 3))
    atoms.positions += images @ atoms.cell.array
    return atoms


def _across_the_boundary() -> Atoms:
    atoms = _in_cell(molecule("CH3CH2OH"), np.diag([6.0, 5.5, 7.0]))
    atoms.wrap()
    return atoms


def _big_vacuum() -> Atoms:
    atoms = _in_cell(_parse(_CHFCLBR), np.diag([80.0, 90.0, 100.0]))
    atoms.center()
    return atoms


def _dense_collision() -> Atoms:
    atoms = molecule("H2O")
    other = molecule("CH4")
    other.positions += atoms.positions[0] + [0.5, 0.1, -0.3]
    return atoms + other


def _organic_box() -> Atoms:
    # Four ethanol molecules in random orientations on a skewed grid, near the liquid's density.
    rng = np.random.default_rng(11)
    cell = np.array([[9.6, 0, 0], [1.5, 8.8, 0], [-0.8, 1.2, 4.9]])
    box = Atoms(cell=cell, pbc=True)
    for place in ([0, 0, 0], [0.5, 0, 0.5], [0, 0.5, 0.5], [0.5, 0.5, 0]):
        guest = molecule("CH3CH2OH")
        guest.euler_rotate(*rng.uniform(0, 360, size=3), center="COM")
        guest.positions += np.asarray(place) @ cell - guest.get_center_of_mass()
        box += guest
    return box


_TABLE: dict[str, Callable[[], Atoms]] = {
    "single atom": lambda: Atoms("O"),
    "dimer": lambda: Atoms("N2", [[0, 0, 0], [0, 0, 1.12]]),
    "no edges": _two_far_atoms,
    "water": lambda: _rattled(molecule("H2O")),
    "chiral molecule": lambda: _parse(_CHFCLBR),
    "aspirin": lambda: _parse(_ASPIRIN),
    "all elements": _all_elements,
    "one-atom fcc cell": _one_atom_fcc,
    "tiny cell": lambda: _in_cell(Atoms("H"), np.diag([1.3, 1.4, 1.5])),
    "skewed cell": _skewed_cell,
    "left-handed cell": _left_handed_cell,
    "slab": _slab,
    "wire": _wire,
    "atoms outside the cell": _outside_the_cell,
    "molecule across the boundary": _across_the_boundary,
    "big vacuum": _big_vacuum,
    "dense collision": _dense_collision,
    "organic box": _organic_box,
    "molecule in a cell without pbc": lambda: _in_cell(molecule("H2O"), np.eye(3) * 3, False),
}
NAMES = tuple(_TABLE)


def structure(name: str) -> Atoms:
    """Make a new copy of a structure of the table."""
    return _TABLE[name]()
