import numpy as np
import pytest
from ase.build import bulk, molecule

from tdncalc import RelaxSettings, relax, relax_many


@pytest.mark.parametrize("cell", ["fixed", "full"])
def test_kernel_relaxes_many_on_the_paths_that_they_take_alone(cell, trio, make_calculator):
    calculator = make_calculator()
    calculator.potential = trio.kernel
    settings = RelaxSettings(fmax=0.5, steps=6, cell=cell)
    given = [bulk("Si", cubic=True), bulk("Cu") * (2, 2, 1), bulk("Si") * 2]
    if cell == "fixed":
        given += [molecule("CH3CH2OH"), molecule("C6H6")]
    for seed, atoms in enumerate(given):
        atoms.rattle(0.05, seed=seed)
    outcomes = list(relax_many(given, calculator=calculator, settings=settings))
    assert len(outcomes) == len(given)
    for outcome in outcomes:
        alone = relax(given[outcome.index], calculator=calculator, settings=settings)
        assert outcome.result.steps == alone.steps
        assert outcome.result.energy == pytest.approx(alone.energy, abs=2e-3)
        np.testing.assert_allclose(outcome.result.atoms.positions, alone.atoms.positions, atol=2e-3)
