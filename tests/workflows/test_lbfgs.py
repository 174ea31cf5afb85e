"""L-BFGS that begins with a model Hessian, against ASE's optimizers and on awkward ground."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import (
    FixAtoms,
    FixBondLength,
    FixBondLengths,
    FixCom,
    FixInternals,
    FixSubsetCom,
)
from ase.io import read
from ase.optimize import BFGS, LBFGS

from tdncalc import RelaxSettings, TDNCalculator, relax, relax_many
from tdncalc.checkpoint import DEFAULT_MODEL
from tdncalc.workflows import model_hessian

BENZENE = Path(__file__).parents[2] / "examples" / "benzene.cif"


def shaken(atoms, width=0.1):
    atoms = atoms.copy()
    atoms.rattle(width, seed=1)
    return atoms


@pytest.fixture(scope="module")
def molecules():
    names = ("CH3CH2OH", "C2H2", "CH3CONH2", "CH3CHO", "isobutane")
    return [shaken(molecule(name)) for name in names]


@pytest.fixture(scope="module")
def organic():
    """Return the bundled model, whose minima are those of molecules."""
    return TDNCalculator(DEFAULT_MODEL, dtype="float64", evaluation="eager")


def minimized(optimizer, atoms, calculator, fmax):
    """Return evaluations and energy of an optimizer of ASE's."""
    atoms = atoms.copy()
    atoms.calc = calculator
    run = optimizer(atoms, logfile=None)
    assert run.run(fmax=fmax, steps=500)
    return run.nsteps + 1, atoms.get_potential_energy()


def test_molecules_take_half_the_evaluations_of_ase_and_end_as_low(molecules, organic):
    ours = theirs = 0
    for atoms in molecules:
        result = relax(atoms, calculator=organic, settings=RelaxSettings(fmax=0.01))
        count, energy = minimized(LBFGS, atoms, organic, 0.01)
        assert result.converged
        assert result.energy < energy + 1e-3
        ours, theirs = ours + result.steps + 1, theirs + count
    assert ours < 0.5 * theirs


def test_minima_are_those_of_bfgs(molecules, organic):
    for atoms in molecules[:2]:
        result = relax(atoms, calculator=organic, settings=RelaxSettings(fmax=0.005))
        _, energy = minimized(BFGS, atoms, organic, 0.005)
        assert result.energy == pytest.approx(energy, abs=1e-3)


@pytest.mark.parametrize("symbol", ["Cu", "Pt", "Al"])
@pytest.mark.parametrize("cell", ["fixed", "full"])
def test_metals_take_no_more_evaluations_than_with_ase(symbol, cell):
    atoms = shaken(bulk(symbol, cubic=True) * (2, 2, 2))
    result = relax(atoms, calculator=EMT(), settings=RelaxSettings(cell=cell))
    count, _ = minimized(LBFGS, atoms, EMT(), 0.05)
    assert result.converged
    assert result.steps + 1 <= count


def test_atoms_that_are_fixed_stay_and_the_others_relax():
    slab = shaken(fcc111("Cu", (2, 2, 3), vacuum=6))
    slab.set_constraint(FixAtoms(indices=[0, 1, 2, 3]))
    result = relax(slab, calculator=EMT())
    assert result.converged
    np.testing.assert_array_equal(result.atoms.positions[:4], slab.positions[:4])
    assert np.abs(result.atoms.positions[4:] - slab.positions[4:]).max() > 0.05


def test_a_bond_that_is_fixed_keeps_its_length(organic):
    atoms = shaken(molecule("CH3CH2OH"))
    atoms.set_constraint(FixBondLength(0, 1))
    result = relax(atoms, calculator=organic)
    assert result.converged
    assert result.atoms.get_distance(0, 1) == pytest.approx(atoms.get_distance(0, 1), abs=1e-6)


@pytest.mark.parametrize("constraint", [FixCom(), FixSubsetCom([0, 2])])
def test_a_center_of_mass_that_is_fixed_costs_no_steps(organic, constraint):
    atoms = shaken(molecule("CH3Cl"), 0.05)
    free = relax(atoms, calculator=organic)
    atoms.set_constraint(constraint)
    result = relax(atoms, calculator=organic)
    assert result.converged
    assert result.steps < free.steps + 10
    assert result.energy == pytest.approx(free.energy, abs=2e-3)
    chosen = getattr(constraint, "index", slice(None))
    centers = [one[chosen].get_center_of_mass() for one in (result.atoms, atoms)]
    np.testing.assert_allclose(*centers, atol=1e-10)


@pytest.mark.parametrize("fixed", [[0], [0, 1]])
@pytest.mark.parametrize("first", [True, False])
def test_atoms_are_fixed_beside_internals_that_are(organic, fixed, first):
    atoms = shaken(molecule("CH3CH2OH"), 0.02)
    internals = FixInternals(dihedrals_deg=[[None, [3, 2, 6, 7]]])
    held = FixAtoms(fixed)
    atoms.set_constraint([held, internals] if first else [internals, held])
    result = relax(atoms, calculator=organic)
    assert result.converged
    assert result.steps < 20
    np.testing.assert_array_equal(result.atoms.positions[fixed], atoms.positions[fixed])
    assert [type(c) for c in result.atoms.constraints] == [type(c) for c in atoms.constraints]


@pytest.mark.parametrize("fixed", [[], [*range(12, 24)]])
def test_internals_are_fixed_in_a_crystal_as_bond_lengths_are(fixed):
    crystal = shaken(read(BENZENE), 0.03)
    calculator = TDNCalculator("organic-small")
    ends = []
    for bond in (
        FixInternals(bonds=[[1.15, [0, 24]]]),
        FixBondLengths([[0, 24]], bondlengths=[1.15]),
    ):
        crystal.set_constraint([bond, FixAtoms(fixed)])
        ends.append(relax(crystal, calculator=calculator))
        assert ends[-1].converged
    internals, lengths = ends
    assert internals.steps < lengths.steps + 10
    assert internals.energy == pytest.approx(lengths.energy, abs=0.03)


def test_symmetry_is_kept_with_a_cell_that_moves(morse):
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * [1.06, 1.0, 1.0], scale_atoms=True)
    settings = RelaxSettings(cell="full", fix_symmetry=True)
    result = relax(atoms, calculator=morse(), settings=settings)
    assert result.converged
    np.testing.assert_allclose(np.diff(result.atoms.cell.lengths()[1:]), 0, atol=1e-8)


def test_large_structures_find_the_same_minimum_without_a_factorization(organic, monkeypatch):
    atoms = shaken(molecule("CH3CH2OH"))
    factorized = relax(atoms, calculator=organic)
    monkeypatch.setattr(model_hessian, "_MOST_ROWS", 0)
    iterated = relax(atoms, calculator=organic)
    assert iterated.energy == pytest.approx(factorized.energy, abs=1e-3)
    assert iterated.steps == pytest.approx(factorized.steps, abs=2)


def test_large_structures_together_take_the_path_that_they_take_alone(calculator, monkeypatch):
    monkeypatch.setattr(model_hessian, "_MOST_ROWS", 10)
    mixed = [shaken(molecule(name)) for name in ("H2O", "C6H6", "CH3OH")]
    settings = RelaxSettings(fmax=0.1)
    for outcome in relax_many(mixed, calculator=calculator, settings=settings):
        alone = relax(mixed[outcome.index], calculator=calculator, settings=settings)
        assert outcome.result.steps == alone.steps
        assert outcome.result.energy == pytest.approx(alone.energy, abs=1e-5)


def test_one_atom_and_atoms_without_bonds_are_relaxed(morse):
    for atoms in (Atoms("Cu"), Atoms("Cu2", [[0, 0, 0], [0, 0, 6.0]])):
        assert relax(atoms, calculator=morse()).converged


def test_resumed_after_the_model_was_renewed_it_takes_the_same_path(morse, tmp_path):
    cluster = Atoms("Cu13", np.random.default_rng(5).uniform(0, 6.0, (13, 3)))
    path = tmp_path / "x.traj"
    whole = relax(cluster, calculator=morse(), settings=RelaxSettings(fmax=0.01))
    assert np.abs(whole.atoms.positions - cluster.positions).max() > 0.5
    half = RelaxSettings(fmax=0.01, steps=whole.steps // 2)
    relax(cluster, calculator=morse(), settings=half, trajectory=path)
    rest = RelaxSettings(fmax=0.01)
    resumed = relax(cluster, calculator=morse(), settings=rest, trajectory=path, resume=True)
    np.testing.assert_array_equal(resumed.atoms.positions, whole.atoms.positions)
