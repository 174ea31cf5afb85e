import dataclasses

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixBondLengths, FixCom, FixedPlane, FixScaled, Hookean

from tdncalc.workflows import ensembles, velocities
from tdncalc.workflows.md import ENSEMBLES, MDSettings, Ramp, run_md

CONSERVING = [e for e in ENSEMBLES if e not in ("nvt-langevin", "npt-berendsen")]
NVT = [e for e in ENSEMBLES if e.startswith("nvt")]


def moving(atoms, settings):
    """Step from the target's temperature on, and give the integrator after each step."""
    rng = np.random.default_rng(settings.seed)
    free = ensembles.free_momenta(atoms, settings)
    velocities.thermalize(atoms, settings.targets(0).temperature_K, free, rng)
    integrator = ensembles.build(atoms, settings, free, rng)
    for step in range(settings.steps):
        integrator.aim(settings.targets(step + 1))
        integrator.step()
        yield integrator


def conserved(atoms, settings):
    """Total energy less what thermostat and barostat gave, at each step, eV."""
    return np.array([atoms.get_total_energy() - i.heat() for i in moving(atoms, settings)])


RAMPS = {"temperature_K": Ramp(300.0, 500.0)}
PRESSED = {"pressure_GPa": Ramp(0.5, 5.0)}


@pytest.mark.parametrize(
    ("ensemble", "start", "more"),
    [
        ("nve", "copper", {}),
        ("nvt-nose-hoover", "copper", {}),
        ("nvt-nose-hoover", "copper", RAMPS),
        ("npt-mtk", "copper", {"pressure_GPa": 0.5}),
        ("npt-mtk", "copper", {"pressure_GPa": 0.5, "cell": "anisotropic"}),
        ("npt-mtk", "skewed", {"pressure_GPa": 0.5, "cell": "full"}),
        ("npt-mtk", "skewed", RAMPS | PRESSED | {"cell": "full"}),
    ],
)
def test_conserved_quantity_converges_with_the_square_of_the_time_step(
    morse, request, ensemble, start, more
):
    errors = []
    for timestep in (4.0, 2.0, 1.0):
        atoms = request.getfixturevalue(start).copy()
        atoms.calc = morse()
        settings = MDSettings(
            round(400 / timestep), ensemble, timestep_fs=timestep, barostat_time_fs=300.0, **more
        )
        errors.append(conserved(atoms, settings).std())
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4.0, rtol=0.1)


CONSTRAINTS = {
    "bonds": ("cluster", lambda: FixBondLengths([(0, 2), (1, 3)])),
    "spring": ("cluster", lambda: Hookean(0, 1, 5.0, 3.0)),
    "plane": ("copper", lambda: FixedPlane([0], [1, 1, 1])),
    "direction of the cell": ("copper", lambda: FixScaled([0], (0, 1, 0))),
}


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_constraints_conserve_the_energy_to_second_order(morse, request, name):
    start, constraint = CONSTRAINTS[name]
    errors = []
    for timestep in (4.0, 2.0):
        atoms = request.getfixturevalue(start).copy()
        atoms.set_masses([63.5, 20.0] * (len(atoms) // 2))
        atoms.set_constraint(constraint())
        atoms.calc = morse()
        settings = MDSettings(round(300 / timestep), "nve", timestep_fs=timestep)
        errors.append(conserved(atoms, settings).std())
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.15)


@pytest.mark.physics
@pytest.mark.parametrize("name", CONSTRAINTS)
def test_momenta_under_constraints_are_counted(morse, request, name):
    # Langevin's thermostat knows nothing of their number: about 1,000 independent kinetic energies
    # of 9 or more momenta have a standard error of 1.5 %.
    start, constraint = CONSTRAINTS[name]
    atoms = request.getfixturevalue(start)
    atoms.set_constraint(constraint())
    settings = MDSettings(4_000, timestep_fs=5.0, friction_per_fs=0.05, seed=4)
    result = run_md(atoms, calculator=morse(), settings=settings)
    assert result.temperature_K == pytest.approx(300.0, rel=0.06)


@pytest.mark.parametrize("ensemble", CONSERVING)
def test_conserved_quantity_does_not_drift(morse, copper, ensemble):
    settings = MDSettings(
        600, ensemble, timestep_fs=3.0, interval=5, thermostat_time_fs=60, barostat_time_fs=300
    )
    result = run_md(copper, calculator=morse(), settings=settings)
    assert abs(result.drift_meV_per_atom_per_ps) < 0.3


@pytest.mark.parametrize("constraint", [None, FixCom()])
def test_rotation_of_a_molecule_is_not_thermostatted_by_bussi(morse, cluster, constraint):
    cluster.set_constraint(constraint)
    settings = MDSettings(300, "nvt-bussi", timestep_fs=4.0)
    result = run_md(cluster, calculator=morse(), settings=settings)
    np.testing.assert_allclose(result.atoms.get_angular_momentum(), 0, atol=1e-8)


@pytest.mark.physics
@pytest.mark.parametrize("ensemble", NVT)
def test_small_molecule_has_the_canonical_energies(morse, cluster, ensemble):
    # 12 vibrations of an octahedron, nearly harmonic at 100 K: each holds kT/2 of potential energy
    # on average, and twice the kinetic energy over kT is χ² distributed. About 250 relaxation
    # times: standard errors near 3 % of the means and 9 % of the variance.
    settings = MDSettings(
        9_000,
        ensemble,
        temperature_K=100.0,
        timestep_fs=5.0,
        interval=5,
        thermostat_time_fs=50.0,
        friction_per_fs=0.02,
        seed=11,
    )
    frames = []
    run_md(cluster, calculator=morse(), settings=settings, observer=frames.append)
    kept = [step.frame for step in frames[1000:] if step.frame is not None]
    thermal = units.kB * 100.0
    potential = np.array([f.potential_eV for f in kept]) - minimum(morse, cluster)
    kinetic = np.array([f.kinetic_eV for f in kept])
    free = 15 if ensemble == "nvt-langevin" else 12
    assert potential.mean() / (6 * thermal) == pytest.approx(1.0, abs=0.12)
    assert kinetic.mean() / (free / 2 * thermal) == pytest.approx(1.0, abs=0.1)
    assert kinetic.var() / (free / 2 * thermal**2) == pytest.approx(1.0, abs=0.3)
    assert np.mean([f.temperature_K for f in kept]) == pytest.approx(100.0, abs=10.0)


def minimum(morse, atoms):
    from tdncalc.workflows.relax import RelaxSettings, relax

    return relax(atoms, calculator=morse(), settings=RelaxSettings(fmax=1e-4)).energy


@pytest.mark.physics
def test_berendsen_reaches_pressure_and_temperature(morse):
    settings = MDSettings(
        5_000,
        "npt-berendsen",
        pressure_GPa=3.0,
        timestep_fs=4.0,
        interval=3,
        thermostat_time_fs=50.0,
        barostat_time_fs=400.0,
        compressibility_per_GPa=0.007,
        seed=3,
    )
    steps = []
    start = bulk("Cu", a=3.67, cubic=True)
    run_md(start, calculator=morse(), settings=settings, observer=steps.append)
    frames = [step.frame for step in steps[1000:] if step.frame is not None]
    assert np.mean([f.pressure_GPa for f in frames]) == pytest.approx(3.0, abs=0.3)
    assert np.mean([f.temperature_K for f in frames]) == pytest.approx(300.0, abs=6.0)


def test_berendsen_compresses_under_pressure(morse, copper):
    settings = MDSettings(
        300, "npt-berendsen", pressure_GPa=20.0, timestep_fs=3.0, barostat_time_fs=500.0
    )
    result = run_md(copper, calculator=morse(), settings=settings)
    assert result.atoms.get_volume() < 0.95 * copper.get_volume()


@pytest.mark.physics
def test_single_atom_in_a_bath_is_brownian(morse):
    settings = MDSettings(3000, "nvt-langevin", timestep_fs=5.0, friction_per_fs=0.05, seed=2)
    result = run_md(Atoms("Cu"), calculator=morse(), settings=settings)
    # 750 independent velocities, 3 components: standard error 3 %.
    assert result.temperature_K == pytest.approx(300.0, rel=0.12)


@pytest.mark.parametrize("ensemble", ENSEMBLES)
def test_state_is_plain_data_that_restores(morse, copper, ensemble):
    settings = MDSettings(0, ensemble, timestep_fs=2.0)
    runs = []
    for resumed in (False, True):
        atoms = copper.copy()
        atoms.calc = morse()
        rng = np.random.default_rng(0)
        free = ensembles.free_momenta(atoms, settings)
        velocities.thermalize(atoms, 300.0, free, rng)
        integrator = ensembles.build(atoms, settings, free, rng)
        for step in range(20):
            integrator.step()
            if resumed and step == 9:
                state = integrator.state()
                atoms.set_constraint()
                integrator = ensembles.build(atoms, dataclasses.replace(settings), free, rng)
                integrator.restore(state)
        runs.append(atoms.positions)
    np.testing.assert_array_equal(*runs)


def test_a_barostat_that_would_turn_the_cell_inside_out_is_a_guard(copper):
    settings = MDSettings(
        20,
        "npt-berendsen",
        timestep_fs=2.0,
        pressure_GPa=100.0,
        compressibility_per_GPa=0.45,
        barostat_time_fs=20.0,
    )
    result = run_md(copper, calculator=EMT(), settings=settings)
    assert "barostat ran away" in result.reason


@pytest.mark.parametrize("ensemble", ["nvt-bussi", "nvt-nose-hoover"])
def test_a_mere_drift_is_no_temperature(copper, ensemble):
    crystal = copper.repeat(2)
    crystal.set_velocities(np.full((len(crystal), 3), 0.01))
    seen = []
    settings = MDSettings(1, ensemble, temperature_K=300.0)
    run_md(crystal, calculator=EMT(), settings=settings, observer=seen.append)
    assert seen[0].temperature_K == pytest.approx(300.0)
