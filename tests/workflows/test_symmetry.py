"""The space group of a crystal is the same before and after, in every cell mode."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.spacegroup import crystal
from ase.spacegroup.symmetrize import check_symmetry

from tdncalc.errors import OptionError
from tdncalc.workflows.relax import RelaxSettings, relax


def space_group(atoms: Atoms) -> str:
    """As tight as a file with six digits allows."""
    found = check_symmetry(atoms, symprec=1e-4)
    return f"{found.international} ({found.number})"


def gold_copper() -> Atoms:
    return Atoms("AuCu", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=[2.7, 2.7, 3.9],
                 pbc=True)  # fmt: skip


CRYSTALS = {
    "Fm-3m (225)": bulk("Cu", a=3.4, cubic=True),
    "P6_3/mmc (194)": bulk("Ag", "hcp", a=2.8, c=5.0),
    "P4/mmm (123)": gold_copper(),
    "Im-3m (229)": bulk("Cu", "bcc", a=2.7),
    # Positions with free parameters: 4 atoms general in the plane.
    "P4/mbm (127)": crystal("Cu", [(0.15, 0.65, 0)], spacegroup=127, cellpar=[5.5, 5.5, 2.7] +
                            [90] * 3),
}  # fmt: skip


@pytest.mark.parametrize("cell", ["fixed", "full", "isotropic", "shape"])
@pytest.mark.parametrize("group", CRYSTALS)
def test_space_group_is_kept(group, cell):
    atoms = CRYSTALS[group].copy()
    assert space_group(atoms) == group
    atoms.rattle(1e-3, seed=1)  # as a file of few digits leaves them
    settings = RelaxSettings(cell=cell, fmax=0.01, fix_symmetry=True)
    result = relax(atoms, calculator=EMT(), settings=settings)
    assert result.converged
    assert space_group(result.atoms) == group
    assert result.atoms.constraints == []


def test_a_film_keeps_its_symmetry_if_that_leaves_the_normal():
    atoms = CRYSTALS["P4/mmm (123)"].copy()
    settings = RelaxSettings(cell="xy", fmax=0.01, fix_symmetry=True)
    result = relax(atoms, calculator=EMT(), settings=settings)
    assert result.converged
    assert space_group(result.atoms) == "P4/mmm (123)"
    np.testing.assert_allclose(result.atoms.cell[2], atoms.cell[2], atol=1e-9)
    assert result.atoms.cell[0, 0] != pytest.approx(atoms.cell[0, 0], abs=1e-3)
    with pytest.raises(OptionError, match=r"fix_symmetry with cell='xy': .* takes z into x or y"):
        relax(CRYSTALS["Fm-3m (225)"].copy(), calculator=EMT(), settings=settings)


def test_without_it_an_unstable_crystal_leaves_its_space_group():
    """What the test above could not see if nothing were kept."""
    atoms = bulk("Cu", "bcc", a=2.86, cubic=True)
    atoms.rattle(5e-3, seed=1)
    settings = RelaxSettings(cell="full", fmax=0.01)
    free = relax(atoms, calculator=EMT(), settings=settings)
    assert space_group(free.atoms) != "Im-3m (229)"


@pytest.mark.parametrize("scale", [0.85, 1.15])
def test_far_cells_arrive_in_their_space_group(scale):
    atoms = bulk("Ag", "hcp", a=2.9, c=4.7)
    settings = RelaxSettings(cell="full", fmax=0.01, fix_symmetry=True)
    near = relax(atoms, calculator=EMT(), settings=settings)
    atoms.set_cell(scale * atoms.cell.array, scale_atoms=True)
    far = relax(atoms, calculator=EMT(), settings=settings)
    assert space_group(far.atoms) == "P6_3/mmc (194)"
    assert far.energy == pytest.approx(near.energy, abs=1e-3)


@pytest.mark.parametrize("pbc", [False, [True, True, False]])
def test_what_is_no_crystal_is_refused(pbc):
    atoms = bulk("Cu")
    atoms.pbc = pbc
    with pytest.raises(OptionError, match=r"fix_symmetry on a structure .*: needs a crystal"):
        relax(atoms, calculator=EMT(), settings=RelaxSettings(fix_symmetry=True))


def test_fixed_atoms_and_symmetry_together():
    atoms = CRYSTALS["P4/mbm (127)"].copy()
    atoms.set_constraint(FixAtoms(range(4)))
    settings = RelaxSettings(fmax=0.01, fix_symmetry=True)
    result = relax(atoms, calculator=EMT(), settings=settings)
    assert result.steps == 0
    np.testing.assert_allclose(result.atoms.positions, atoms.positions, atol=1e-6)
