"""Turning a bond in steps, with everything else relaxed."""

import networkx as nx
import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.constraints import FixInternals
from ase.optimize import BFGS

from harness.minima import frozen
from harness.molecules import bonds

__all__ = ["profile_error", "relax_at", "turned"]

FMAX = 0.01  # eV/Å
Four = tuple[int, int, int, int]


def turned(atoms: Atoms, four: Four, degrees: float) -> Atoms:
    """Return a copy with the dihedral at an angle, what is beyond the bond turned as one piece."""
    graph = nx.Graph(bonds(atoms))
    graph.remove_edge(four[1], four[2])
    piece = nx.node_connected_component(graph, four[2])
    copy = atoms.copy()
    copy.set_constraint()
    copy.set_dihedral(*four, degrees, indices=sorted(piece))
    return copy


def relax_at(atoms: Atoms, calculator: Calculator, four: Four, degrees: float) -> Atoms:
    """Return the structure relaxed with the dihedral held at an angle, with its energy."""
    copy = turned(atoms, four, degrees)
    copy.set_constraint(FixInternals(dihedrals_deg=[(degrees % 360, list(four))], epsilon=1e-6))
    copy.calc = calculator
    BFGS(copy, logfile=None).run(fmax=FMAX, steps=200)
    result = frozen(copy)
    result.set_constraint()
    return result


def profile_error(found: np.ndarray, true: np.ndarray) -> float:
    """Return the mean absolute error of a profile, both measured from their own minima."""
    return float(np.abs((found - found.min()) - (true - true.min())).mean())
