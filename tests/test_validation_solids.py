"""Elastic constants, and kinds of labeled crystals, on cases whose answer is known."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from tdncalc.cards import model_folder

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))


def labeled(atoms, calculator):
    atoms.calc = calculator
    results = {"energy": atoms.get_potential_energy(), "stress": atoms.get_stress()}
    atoms.calc = SinglePointCalculator(atoms, forces=atoms.get_forces(), **results)
    return atoms


def strained(a, calculator):
    """Stretched along one axis and sheared in one plane, as such sets are."""
    found = [labeled(bulk("Cu", a=a, cubic=True), calculator)]
    for size in (-0.03, -0.02, -0.01, 0.01, 0.02, 0.03):
        for place in ((0, 0), (1, 1), (1, 2), (0, 1)):
            atoms = bulk("Cu", a=a, cubic=True)
            deformation = np.eye(3)
            deformation[place] += size
            atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
            found.append(labeled(atoms, calculator))
    return found


def test_constants_of_copper_in_effective_medium_theory():
    from harness.elasticity import elastic_constants, lattice

    crystal, B = lattice(bulk("Cu", a=3.63, cubic=True), EMT())
    c11, c12, c44 = elastic_constants(crystal, EMT(), relaxed=False)
    assert crystal.cell[0, 0] == pytest.approx(3.59, abs=0.005)
    assert (c11 + 2 * c12) / 3 == pytest.approx(B, rel=0.01)
    assert c11 > c12 > c44 > 0


def test_fits_to_stress_and_to_energy_agree_with_small_strains():
    from harness.elasticity import elastic_constants, fit, fit_energies, lattice

    crystal, B = lattice(bulk("Cu", a=3.6, cubic=True), EMT())
    true = elastic_constants(crystal, EMT(), relaxed=False)
    crystals = strained(3.61, EMT())  # away from zero stress
    found = fit(crystals, 3.61)
    assert found.a == pytest.approx(crystal.cell[0, 0], abs=0.002)
    assert pytest.approx(true, rel=0.03) == (found.C11, found.C12, found.C44)
    a, c11, c44 = fit_energies(strained(3.59, EMT()), 3.59, B)
    assert a == pytest.approx(crystal.cell[0, 0], abs=0.003)
    assert (c11, c44) == pytest.approx((true[0], true[2]), rel=0.03)


def test_crystals_under_pressure_and_in_two_strains_are_enough(tmp_path):
    from harness.crystals import Found
    from harness.elasticity import elastic_constants, fit, lattice
    from solids import with_stress

    deformations = [np.eye(3) * (1 + e) for e in np.arange(-4, 5) / 100]
    deformations += [np.diag([1, 1, 1 + e]) for e in (-0.03, 0.03)]
    deformations += [np.eye(3) + e * (1 - np.eye(3)) for e in (-0.03, 0.03)]
    for deformation in deformations:
        atoms = bulk("Cu", a=3.62, cubic=True)
        atoms.set_cell(atoms.cell @ deformation, scale_atoms=True)
        write(tmp_path / "strained-Cu.extxyz", labeled(atoms, EMT()), append=True)
    others = Found(strained=strained(3.4, EMT()))
    assert with_stress(others, tmp_path, "Ni") == others.strained
    crystals = with_stress(others, tmp_path, "Cu")
    assert len(crystals) == 13
    found, (crystal, B) = fit(crystals, 3.62), lattice(bulk("Cu", a=3.6, cubic=True), EMT())
    true = elastic_constants(crystal, EMT(), relaxed=False)
    assert found.a == pytest.approx(crystal.cell[0, 0], abs=0.002)
    assert pytest.approx((B, *true), rel=0.05) == (found.B, found.C11, found.C12, found.C44)


def test_central_forces_obey_cauchys_relation():
    """C12 = C44 of a crystal of centers of inversion without stress (Born and Huang)."""
    from harness.elasticity import elastic_constants, lattice

    calculator = LennardJones(sigma=1.0, epsilon=1.0, rc=2.6, ro=2.2, smooth=True)
    crystal, _ = lattice(bulk("Ar", "fcc", a=1.55, cubic=True).repeat(2), calculator)
    _, c12, c44 = elastic_constants(crystal, calculator, relaxed=False)
    assert c12 == pytest.approx(c44, rel=0.01)


def test_relaxed_atoms_soften_the_shear_of_diamond_only():
    from harness.elasticity import elastic_constants

    from tdncalc import TDNCalculator

    calculator = TDNCalculator(evaluation="eager", dtype="float64")
    crystal = bulk("C", a=3.6, cubic=True)
    held, relaxed = (elastic_constants(crystal, calculator, relaxed=x) for x in (False, True))
    assert relaxed[2] < held[2] - 1
    assert relaxed[:2] == pytest.approx(held[:2])


def test_kinds_of_structures_are_told_apart(tmp_path):
    from harness.crystals import load

    ideal = bulk("Cu", a=3.6, cubic=True).repeat(3)
    sheared = ideal.copy()
    sheared.set_cell(ideal.cell @ np.array([[1, 0.05, 0], [0, 1, 0], [0, 0, 1]]), scale_atoms=True)
    hot, hole, slab = ideal.copy(), ideal.copy(), fcc111("Cu", (1, 1, 6), vacuum=8, periodic=True)
    hot.rattle(0.1, seed=1)
    del hole[5]
    slab.info.clear()
    foreign = bulk("Ni", a=3.5, cubic=True)
    frames = [labeled(atoms, EMT()) for atoms in (ideal, sheared, hot, hole, slab, foreign)]
    for part in ("train", "valid", "test"):
        write(tmp_path / f"x-{part}.extxyz", frames if part == "train" else frames[:1])
    found = load(tmp_path, "Cu", "x")
    counts = [len(x) for x in (found.strained, found.thermal, found.vacancies, found.slabs)]
    assert counts == [4, 1, 1, 1]
    assert found.reference == pytest.approx(3.6)


def test_neighbors_of_a_close_packed_crystal_are_twelve():
    from melts import coordination

    crystal = bulk("Cu", a=3.6, cubic=True).repeat(3)
    frames = [crystal.copy() for _ in range(5)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.1, seed=seed)
    neighbors, within = coordination(frames)
    assert neighbors == pytest.approx(12, abs=0.5)
    assert 2.6 < within < 3.6


def test_card_takes_findings_of_its_own_weights_only(tmp_path, monkeypatch, capsys):
    import physics_card
    from harness.findings import write_findings

    shutil.copytree(model_folder("organic"), tmp_path / "model")
    path = tmp_path / "found.json"
    write_findings(path, "torsions", "organic", {"summary": {"MAE_kcal": 0.2}, "cases": []})
    monkeypatch.setattr("sys.argv", ["physics_card.py", str(tmp_path / "model"), str(path)])
    physics_card.main()
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert card["physics"]["torsions"] == {"MAE_kcal": 0.2}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sha256": "0" * 64}))
    with pytest.raises(SystemExit):
        physics_card.main()
    assert "of other weights" in capsys.readouterr().err
