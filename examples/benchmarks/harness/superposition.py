"""How far two structures of one molecule are apart, with equivalent atoms exchanged."""

from itertools import islice

import networkx as nx
import numpy as np
from ase import Atoms
from ase.build import minimize_rotation_and_translation

from harness.molecules import bonds

__all__ = [
    "angles",
    "best_rmsd",
    "bond_angles",
    "bond_graph",
    "lengths",
    "rmsd",
    "rotatable",
    "soft_part",
]

MOST = 2000  # exchanges of equivalent atoms that are tried


def bond_graph(atoms: Atoms) -> nx.Graph:
    """Return the bonds between atoms other than hydrogen; nodes have element and hydrogens."""
    graph = nx.Graph()
    heavy = atoms.numbers > 1
    graph.add_nodes_from((int(i), {"kind": [int(atoms.numbers[i]), 0]}) for i in heavy.nonzero()[0])
    for i, j in bonds(atoms):
        if heavy[i] and heavy[j]:
            graph.add_edge(i, j)
        elif heavy[i] or heavy[j]:
            graph.nodes[i if heavy[i] else j]["kind"][1] += 1
    return graph


def rmsd(one: np.ndarray, other: np.ndarray) -> float:
    """Return the RMSD in Å of positions (N, 3) after the best superposition.

    The singular values of the covariance give it without the rotation: Kabsch, Acta Cryst. A 32,
    922 (1976); the last one is negative where only a reflection would do better.
    """
    a, b = one - one.mean(0), other - other.mean(0)
    u, s, v = np.linalg.svd(a.T @ b)
    s[-1] *= np.sign(np.linalg.det(u) * np.linalg.det(v))
    return float(np.sqrt(max(0.0, (a**2).sum() + (b**2).sum() - 2 * s.sum()) / len(a)))


def best_rmsd(one: Atoms, other: Atoms) -> float:
    """Return the least RMSD in Å of the atoms other than hydrogen over equivalent atoms.

    Equivalent are those that an automorphism of the bond graph of `other` exchanges; if there are
    more than 2000 automorphisms the first ones are tried.
    """
    graph = bond_graph(other)
    same = nx.algorithms.isomorphism.categorical_node_match("kind", None)
    matcher = nx.algorithms.isomorphism.GraphMatcher(graph, graph, node_match=same)
    nodes = list(graph)
    target = one.positions[nodes]
    orders = [nodes, *([m[i] for i in nodes] for m in islice(matcher.isomorphisms_iter(), MOST))]
    return min(rmsd(target, other.positions[order]) for order in orders)


def soft_part(one: Atoms, other: Atoms, hessian: np.ndarray) -> float:
    """Return which part of the squared displacement lies in the three softest vibrations.

    Not a number where nothing is displaced.

    Parameters
    ----------
    one, other
        A minimum, and a structure near it, in the same order of atoms.
    hessian
        Of the minimum (3N, 3N); the six modes of smallest curvature are taken for the motion of the
        whole.
    """
    moved = other.copy()
    minimize_rotation_and_translation(one, moved)
    curvatures, modes = np.linalg.eigh(hessian)
    along = (modes.T @ (moved.positions - one.positions).ravel()) ** 2
    softest = np.argsort(np.abs(curvatures))[6:9]
    return float(along[softest].sum() / along.sum()) if along.any() else float("nan")


def rotatable(atoms: Atoms) -> int:
    """Return the number of bonds outside of rings between atoms with further heavy neighbors."""
    graph = bond_graph(atoms)
    return sum(graph.degree[i] > 1 and graph.degree[j] > 1 for i, j in nx.bridges(graph))


def lengths(atoms: Atoms, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Return the distances of pairs of atoms in Å."""
    i, j = np.array(pairs).T
    return np.linalg.norm(atoms.positions[i] - atoms.positions[j], axis=1)


def bond_angles(atoms: Atoms) -> list[tuple[int, int, int]]:
    """Return the triples of atoms whose first and last are bonded to the middle one."""
    graph = nx.Graph(bonds(atoms))
    return [
        (i, center, j) for center in graph for i in graph[center] for j in graph[center] if i < j
    ]


def angles(atoms: Atoms, triples: list[tuple[int, int, int]]) -> np.ndarray:
    """Return the angles of triples of atoms in degrees."""
    return atoms.get_angles(triples) if triples else np.empty(0)
