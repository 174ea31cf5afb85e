import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from tdncalc.checkpoint import bundled_models, load_model

CUTOFF = 5.0


def approaching(lengths):
    """A hydrogen atom that comes near carbon monoxide from outside of the cutoff."""
    base = Atoms("COH", [[0, 0, 0], [0.3, -1.1, 0], [0, 0, 0]])
    for length in lengths:
        atoms = base.copy()
        atoms.positions[2] = length * np.array([0.48, 0.6, 0.64])
        yield atoms


def test_nothing_jumps_where_an_atom_crosses_the_cutoff(potential):
    lengths = CUTOFF + 1e-4 * np.arange(-100, 41)
    results = potential.evaluate(list(approaching(lengths)))
    energies = np.array([result["energy"] for result in results])
    forces = np.array([result["forces"] for result in results])
    inside = lengths < CUTOFF
    assert np.ptp(energies[~inside]) == 0
    assert np.abs(forces[~inside, 2]).max() == 0
    # one step inside, what is left of the envelope is 35 (2e-5)³, of its slope 105 (2e-5)² / cutoff
    assert abs(energies[inside][-1] - energies[-1]) < 1e-12
    assert np.abs(forces[inside][-1] - forces[-1]).max() < 1e-7
    assert np.abs(forces[0, 2]).max() > 1e-8
    assert np.abs(np.diff(forces, axis=0)).max() < 1e-5


def test_derivative_of_the_force_goes_to_zero_at_the_cutoff(potential):
    gaps = np.array([1e-2, 1e-3, 1e-4])
    sizes = []
    for atoms in approaching(CUTOFF - gaps):
        sizes.append(float(potential.hessian(potential.graph(atoms))[6:, 6:].abs().max()))
    assert sizes[0] > 1e-6
    assert sizes[1] == pytest.approx(sizes[0] / 10, rel=0.1)
    assert sizes[2] == pytest.approx(sizes[1] / 10, rel=0.1)


@pytest.mark.parametrize("evaluation", ["eager", "compiled"])
@pytest.mark.parametrize(
    ("name", "pair"), [("organic", "HH"), ("organic", "CC"), ("metals", "NiNi")]
)
def test_force_at_the_shortest_trained_distance_is_that_between_its_sides(evaluation, name, pair):
    potential = load_model(name, evaluation=evaluation)
    potential.settle(wait=True)
    atoms = Atoms(pair)
    numbers = torch.from_numpy(atoms.numbers)
    shortest = potential.network.repulsion.shortest
    places = potential.network.element_indices(numbers)
    lengths = float(shortest[places[0], places[1]]) + 1e-4 * np.array([-1, 0, 1])
    pairs = [Atoms(pair, [[0, 0, 0], [0, 0, length]]) for length in lengths]
    below, at, above = (result["forces"][1, 2] for result in potential.evaluate(pairs))
    assert at == pytest.approx((below + above) / 2, rel=1e-3)


def pushes(potential, fractions):
    """Force that drives each pair of elements apart at fractions of its sum of covalent radii."""
    dimers = []
    for pair in itertools.combinations_with_replacement(potential.elements, 2):
        radii = sum(covalent_radii[atomic_numbers[symbol]] for symbol in pair)
        dimers += [Atoms(pair, [[0, 0, 0], [0, 0, fraction * radii]]) for fraction in fractions]
    results = potential.evaluate(dimers, properties=["forces"])
    return np.array([result["forces"][1, 2] for result in results])


@pytest.mark.parametrize("name", ["random", *bundled_models()])
def test_every_pair_of_elements_repels_at_short_range(potential, name):
    if name != "random":
        potential = load_model(name, device="cpu", dtype="float64")
    assert pushes(potential, [0.05, 0.1, 0.2, 0.3, 0.4, 0.5]).min() > 1.0


def test_repulsion_never_reaches_beyond_the_cutoff(make_network):
    # two Pt atoms: the sum of their radii is 2.72 Å
    small = make_network(("H", "Pt"), cutoff=2.0)
    assert float(small.repulsion(*edge_of_platinum(1.999))) < 1e-6
    assert float(small.repulsion(*edge_of_platinum(1.5))) > 1e-3
    full = make_network(("H", "Pt"))
    assert float(full.repulsion(*edge_of_platinum(1.999))) > 1e-2


def edge_of_platinum(length):
    one = torch.tensor([1])
    return torch.tensor([length], dtype=torch.float64), one, one
