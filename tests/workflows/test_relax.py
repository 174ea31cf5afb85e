import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.morse import MorsePotential
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import ExternalForce, FixAtoms, FixBondLengths, FixInternals, Hookean
from ase.eos import EquationOfState

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError, StructureError
from tdncalc.workflows.many.relaxations import relax_many
from tdncalc.workflows.relax import RelaxSettings, relax
from tdncalc.workflows.relax_settings import OPTIMIZERS


def test_dimer_reaches_the_minimum_of_its_curve():
    dimer = Atoms("H2", [[0, 0, 0], [0, 0, 1.3]])
    result = relax(
        dimer,
        calculator=MorsePotential(r0=1.0, epsilon=4.0, rcut1=5.0, rcut2=6.0),
        settings=RelaxSettings(fmax=1e-4),
    )
    assert result.converged
    assert result.atoms.get_distance(0, 1) == pytest.approx(1.0, abs=1e-5)
    assert result.energy == pytest.approx(-4.0, abs=1e-8)


def test_isotropic_cell_reaches_the_minimum_of_the_equation_of_state():
    start = bulk("Cu", a=3.3)
    volumes, energies = [], []
    for scale in np.linspace(0.98, 1.02, 9):
        point = bulk("Cu", a=3.5898 * scale)
        point.calc = EMT()
        volumes.append(point.get_volume())
        energies.append(point.get_potential_energy())
    volume, energy, _ = EquationOfState(volumes, energies, eos="birchmurnaghan").fit()
    result = relax(start, calculator=EMT(), settings=RelaxSettings(fmax=1e-3, cell="isotropic"))
    assert result.atoms.get_volume() == pytest.approx(volume, rel=1e-4)
    assert result.energy == pytest.approx(energy, abs=1e-5)


@pytest.mark.parametrize("pressure", [-5.0, 5.0, 20.0])
def test_relaxed_stress_balances_the_pressure(morse, pressure):
    settings = RelaxSettings(fmax=1e-3, cell="full", pressure_GPa=pressure)
    result = relax(bulk("Cu"), calculator=morse(), settings=settings)
    np.testing.assert_allclose(result.stress_GPa, [-pressure] * 3 + [0] * 3, atol=2e-3)


def test_positive_pressure_compresses(morse):
    volumes = [
        relax(
            bulk("Cu"), calculator=morse(), settings=RelaxSettings(cell="isotropic", pressure_GPa=p)
        ).atoms.get_volume()
        for p in (-5.0, 0.0, 5.0)
    ]
    assert volumes[0] > volumes[1] > volumes[2]


def test_shape_mode_keeps_the_volume(morse, copper):
    copper.set_cell(copper.cell.array @ np.diag([1.05, 1.0, 0.97]), scale_atoms=True)
    result = relax(copper, calculator=morse(), settings=RelaxSettings(fmax=0.005, cell="shape"))
    assert result.converged
    assert result.atoms.get_volume() == pytest.approx(copper.get_volume(), rel=1e-8)
    stress = result.stress_GPa
    np.testing.assert_allclose(stress - np.r_[[stress[:3].mean()] * 3, 0, 0, 0], 0, atol=0.02)


def test_isotropic_mode_keeps_the_shape(morse, copper):
    result = relax(copper, calculator=morse(), settings=RelaxSettings(cell="isotropic"))
    growth = result.atoms.cell.array / result.atoms.cell.array[0, 0]
    np.testing.assert_allclose(growth, np.eye(3), atol=1e-10)


def test_xy_mode_leaves_the_normal_of_a_slab(morse):
    slab = fcc111("Cu", (2, 2, 4), a=3.5, vacuum=8.0, periodic=True)
    result = relax(slab, calculator=morse(), settings=RelaxSettings(cell="xy", fmax=0.02))
    assert result.converged
    np.testing.assert_allclose(result.atoms.cell[2], slab.cell[2], atol=1e-12)
    assert result.atoms.cell[0, 0] > slab.cell[0, 0]
    np.testing.assert_allclose(result.stress_GPa[[0, 1, 5]], 0, atol=0.04)


@pytest.mark.parametrize("together", [False, True])
def test_xy_mode_of_a_slab_that_stands_is_refused(morse, together):
    slab = fcc111("Cu", (1, 1, 3), a=3.7, vacuum=6.0, periodic=together)
    slab.rotate(90, "y", rotate_cell=True)
    settings = RelaxSettings(cell="xy")
    message = "first two cell vectors do not lie in the xy plane; turn"
    if together:
        (end,) = relax_many([slab], calculator=TDNCalculator("metals"), settings=settings)
        assert message in str(end.error)
    else:
        with pytest.raises(OptionError, match=message):
            relax(slab, calculator=morse(), settings=settings)


@pytest.mark.parametrize("together", [False, True])
def test_steps_are_those_taken_not_those_to_the_lowest(together):
    atoms = molecule("CH3CH2OH")
    settings = RelaxSettings(fmax=1e-9, steps=400)  # float32 ends in rounding
    calculator = TDNCalculator("organic-small")
    if together:
        (end,) = relax_many([atoms], calculator=calculator, settings=settings)
        result = end.result
    else:
        result = relax(atoms, calculator=calculator, settings=settings)
    assert result.reason.startswith(f"not converged in {result.steps} steps")


@pytest.mark.parametrize("together", [False, True])
def test_vacuum_does_not_dilute_the_stress_of_a_slab(morse, together):
    lengths = []
    for vacuum in (4.0, 200.0):
        slab = fcc111("Cu", (1, 1, 3), a=3.5, vacuum=vacuum, periodic=True)
        settings = RelaxSettings(cell="xy")
        if together:
            (end,) = relax_many([slab], calculator=TDNCalculator("metals"), settings=settings)
            result = end.result
        else:
            result = relax(slab, calculator=morse(), settings=settings)
        assert result.converged
        lengths.append(result.atoms.cell[0, 0])
    assert lengths[0] == pytest.approx(lengths[1], rel=5e-4)


def test_small_forces_alone_do_not_converge_a_moving_cell(morse):
    squeezed = bulk("Cu", a=3.4)
    result = relax(squeezed, calculator=morse(), settings=RelaxSettings(cell="full", steps=0))
    assert result.fmax < 1e-10
    assert not result.converged
    assert result.reason == "not converged in 0 steps"


def test_fixed_cell_ignores_the_stress(morse):
    result = relax(bulk("Cu", a=3.4), calculator=morse())
    assert result.converged
    assert result.steps == 0


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizers_agree(morse, copper, optimizer):
    settings = RelaxSettings(optimizer=optimizer, fmax=1e-3, cell="full")
    perfect = relax(bulk("Cu", cubic=True), calculator=morse(), settings=settings)
    result = relax(copper, calculator=morse(), settings=settings)
    assert result.converged
    assert result.energy == pytest.approx(perfect.energy, abs=1e-5)


def test_fixed_atoms_stay_and_do_not_count(morse, copper):
    copper.set_constraint(FixAtoms([0]))
    copper.positions[0] += 0.1
    result = relax(copper, calculator=morse())
    np.testing.assert_array_equal(result.atoms.positions[0], copper.positions[0])
    assert result.converged
    assert np.linalg.norm(result.atoms.get_forces(apply_constraint=False)[0]) > 0.01
    assert isinstance(result.atoms.constraints[0], FixAtoms)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "constraint",
    [
        lambda: FixBondLengths([(0, 1)], bondlengths=[1.02]),
        lambda: FixInternals(bonds=[[1.02, [0, 1]]]),
    ],
)
def test_a_constraint_that_is_not_met_at_the_start_is_met_and_kept(optimizer, constraint):
    water = molecule("H2O")
    water.set_constraint(constraint())
    settings = RelaxSettings(optimizer=optimizer, fmax=0.01, steps=60)
    (outcome,) = relax_many([water], calculator=TDNCalculator(), settings=settings)
    result = outcome.result
    assert result.reason == "converged"
    assert result.atoms.get_distance(0, 1) == pytest.approx(1.02, abs=1e-6)
    free = relax(molecule("H2O"), settings=settings)
    # half the force constant of a bond, some 50 eV/Å², times the square of 0.06 Å
    assert 0.03 < result.energy - free.energy < 0.3


def test_a_constraint_that_cannot_be_met_is_named_and_the_others_go_on():
    ethanol = molecule("CH3CH2OH")
    impossible = ethanol.copy()
    impossible.set_constraint(FixInternals(bonds=[[0.9, [0, 1]], [5.0, [0, 2]], [0.9, [1, 2]]]))
    settings = RelaxSettings(steps=2)
    refused, other = sorted(
        relax_many([impossible, ethanol], calculator=TDNCalculator(), settings=settings),
        key=lambda outcome: outcome.index,
    )
    assert isinstance(refused.error, StructureError)
    assert "its constraints cannot be met from where the atoms are" in str(refused.error)
    assert other.result.steps == 2


class Tiring(FixAtoms):
    """A constraint that finds positions to its liking three times."""

    left = 3
    error = ValueError("did not converge")

    def adjust_positions(self, atoms, new):
        self.left -= 1
        if self.left < 0:
            raise self.error
        super().adjust_positions(atoms, new)


def test_bond_lengths_that_contradict_each_other_are_refused(morse, cluster):
    lengths = FixBondLengths([(0, 2), (2, 4), (0, 4)], bondlengths=[2.0, 2.0, 9.0])
    cluster.set_constraint(lengths)
    with pytest.raises(StructureError, match="its constraints cannot be met"):
        relax(cluster, calculator=morse())


def test_bond_lengths_that_cannot_be_kept_on_the_way_end_it(morse, copper):
    tiring = Tiring([0])
    tiring.error = RuntimeError("Did not converge")
    copper.set_constraint(tiring)
    result = relax(copper, calculator=morse())
    assert result.reason == "its constraints could not be kept (Did not converge)"


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_constraint_that_fails_on_the_way_ends_it(morse, copper, optimizer):
    copper.set_constraint(Tiring([0]))
    result = relax(copper, calculator=morse(), settings=RelaxSettings(optimizer=optimizer))
    assert result.reason == "its constraints could not be kept (did not converge)"
    assert 0 < result.steps <= 2
    start = copper.copy()
    start.calc = morse()
    assert result.energy < start.get_potential_energy()


def test_the_given_atoms_do_not_change(morse, copper):
    copper.calc = morse()
    before, calculator = copper.copy(), copper.calc
    result = relax(copper, settings=RelaxSettings(cell="full"))
    assert copper == before
    assert copper.calc is calculator
    assert result.structure is not copper


def test_result_carries_energy_forces_and_stress(morse, copper):
    result = relax(copper, calculator=morse())
    assert result.atoms.get_potential_energy() == result.energy
    assert np.linalg.norm(result.atoms.get_forces(), axis=1).max() == result.fmax
    np.testing.assert_array_equal(result.atoms.get_stress() / units.GPa, result.stress_GPa)


def test_molecule_has_no_stress(morse, cluster):
    assert relax(cluster, calculator=morse(), settings=RelaxSettings(steps=1)).stress_GPa is None


def test_molecule_in_a_cell_needs_no_stress_of_a_calculator_that_has_none_of_it(morse, cluster):
    class OfCrystals(morse):
        def calculate(self, atoms=None, *arguments):
            super().calculate(atoms, *arguments)
            if not atoms.pbc.any():
                del self.results["stress"]

    cluster.set_cell([20, 20, 20])
    result = relax(cluster, calculator=OfCrystals())
    assert result.converged
    assert result.stress_GPa is None


def test_pymatgen_in_gives_pymatgen_out(morse):
    core = pytest.importorskip("pymatgen.core")
    crystal = core.Structure(
        core.Lattice.cubic(3.5),
        ["Cu"] * 4,
        [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]],
    )
    result = relax(crystal, calculator=morse(), settings=RelaxSettings(cell="full"))
    assert isinstance(result.structure, core.Structure)
    assert result.structure.volume == pytest.approx(result.atoms.get_volume())
    assert crystal.volume == pytest.approx(3.5**3)


def test_not_converging_is_a_result(morse, copper):
    result = relax(copper, calculator=morse(), settings=RelaxSettings(fmax=1e-6, steps=3))
    assert (result.converged, result.steps) == (False, 3)
    assert result.reason == "not converged in 3 steps"


class Hill(MorsePotential):
    """Has no forces from the second evaluation on, where the energy is 0.5 eV higher."""

    n_calls = 0

    def calculate(self, *arguments, **keywords):
        super().calculate(*arguments, **keywords)
        self.n_calls += 1
        if self.n_calls > 1:
            self.results["forces"] = np.zeros_like(self.results["forces"])
            self.results["energy"] = self.results["free_energy"] = 0.5


def test_a_place_above_the_start_is_not_converged():
    result = relax(Atoms("Ar2", [[0, 0, 0], [0, 0, 1.3]]), calculator=Hill())
    assert not result.converged
    assert "at a maximum or saddle, above the start" in result.reason
    assert f"in {result.steps} steps" in result.reason


def test_explosion_ends_at_the_last_good_structure(morse, copper):
    result = relax(copper, calculator=morse(fail_at=4), settings=RelaxSettings(fmax=1e-6))
    assert result.reason == "energy, forces or stress are not finite"
    assert not result.converged
    assert result.steps == 3  # the last of them led nowhere
    before = relax(copper, calculator=morse(), settings=RelaxSettings(fmax=1e-6, steps=2))
    assert result.energy == before.energy
    np.testing.assert_array_equal(result.atoms.positions, before.atoms.positions)


def test_structure_that_the_model_refuses_on_the_way_ends_it(morse, copper):
    result = relax(copper, calculator=morse(refuse_at=4), settings=RelaxSettings(fmax=1e-6))
    assert result.reason == "structure: two atoms are at one point"
    assert (result.steps, result.converged) == (3, False)
    assert np.isfinite(result.energy)


def test_first_evaluation_that_is_not_finite_is_named(morse, copper):
    result = relax(copper, calculator=morse(fail_at=1))
    assert (result.steps, result.converged) == (0, False)
    assert "not finite" in result.reason


def test_cell_that_runs_away_is_stopped():
    gas = bulk("Ar", "fcc", a=5.0, cubic=True)
    settings = RelaxSettings(cell="isotropic", pressure_GPa=-5.0, optimizer="bfgs")
    result = relax(
        gas, calculator=LennardJones(sigma=3.4, epsilon=0.0104, rc=12.0), settings=settings
    )
    assert not result.converged
    assert "volume" in result.reason


def test_stop_ends_it_with_what_there_is(morse, copper):
    asked = []
    result = relax(
        copper,
        calculator=morse(),
        settings=RelaxSettings(fmax=1e-6),
        stop=lambda: asked.append(1) or len(asked) > 2,
    )
    assert (result.reason, result.steps) == ("stopped", 2)


def test_observer_sees_every_step(morse, copper):
    seen = []
    result = relax(
        copper, calculator=morse(), settings=RelaxSettings(cell="full"), observer=seen.append
    )
    assert [s.step for s in seen] == list(range(result.steps + 1))
    assert seen[-1].energy == result.energy
    assert seen[-1].max_stress_GPa < 0.1


def test_results_of_a_file_are_not_taken_for_a_calculator(morse, copper):
    copper.calc = SinglePointCalculator(copper, energy=0.0, forces=np.zeros((4, 3)))
    assert relax(copper, calculator=morse()).energy != 0.0


def test_lbfgs_recovers_from_a_crowded_start(morse):
    rng = np.random.default_rng(5)
    cluster = Atoms("Cu13", rng.uniform(0, 5.5, (13, 3)))
    result = relax(cluster, calculator=morse(), settings=RelaxSettings(steps=400))
    assert result.converged


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"fmax": 0.0}, "fmax=0: must be above 0"),
        ({"fmax": float("nan")}, "fmax=nan: must be above 0"),
        ({"steps": -1}, "steps=-1: must be a whole number"),
        ({"optimizer": "newton"}, "optimizer='newton': must be one of lbfgs, fire, bfgs"),
        ({"cell": "cubic"}, "cell='cubic': must be one of fixed, full"),
        ({"fmax": "0.05"}, "fmax='0.05': must be a number"),
        ({"pressure_GPa": None}, "pressure_GPa=None: must be a number"),
        ({"pressure_GPa": float("inf"), "cell": "full"}, "must be a finite number"),
        ({"pressure_GPa": 1.0}, "has no effect on cell='fixed'"),
        ({"pressure_GPa": 1.0, "cell": "shape"}, "has no effect on cell='shape'"),
    ],
)
def test_settings_outside_the_allowed_are_refused(wrong, message):
    with pytest.raises(OptionError, match=message):
        RelaxSettings(**wrong)


def test_what_is_no_calculator_is_refused(cluster):
    with pytest.raises(OptionError, match=r"calculator='organic': must be an ASE calculator, for"):
        relax(cluster, calculator="organic")
    with pytest.raises(OptionError, match="must be an ASE calculator"):
        relax(cluster, calculator=LennardJones)


@pytest.mark.parametrize("mode", ["full", "isotropic", "shape", "xy"])
def test_moving_cell_of_a_molecule_is_refused(morse, cluster, mode):
    with pytest.raises(OptionError, match=f"cell='{mode}' on a structure with pbc=FFF"):
        relax(cluster, calculator=morse(), settings=RelaxSettings(cell=mode))


@pytest.mark.parametrize(
    "constraint",
    [
        FixBondLengths([(0, 1)]),
        FixInternals(bonds=[[2.5, [0, 1]]]),
        Hookean(0, 1, 5.0, 2.0),
        ExternalForce(0, 1, 0.1),
    ],
)
def test_moving_cell_with_forces_that_are_not_in_the_stress_is_refused(morse, copper, constraint):
    copper.set_constraint([FixAtoms([2]), constraint])
    kind = type(constraint).__name__
    with pytest.raises(OptionError, match=f"cell='full' with the constraint {kind}"):
        relax(copper, calculator=morse(), settings=RelaxSettings(cell="full"))


def test_moving_cell_without_a_stress_is_refused(copper):
    class Stressless(EMT):
        implemented_properties = ("energy", "forces")

    with pytest.raises(OptionError, match="needs a stress"):
        relax(copper, calculator=Stressless(), settings=RelaxSettings(cell="full"))
