"""Structures whose neighbors are followed together."""

import numpy as np
import pytest
from ase.build import molecule

from tdncalc.errors import StructureError
from tdncalc.moving_batch import MovingBatch


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_position_that_is_no_number_is_a_fault_of_its_structure(potential, bad):
    batch = MovingBatch(potential)
    molecules = [molecule("H2O"), molecule("CH4")]
    batch.change(np.empty(0, dtype=bool), [batch.member(atoms) for atoms in molecules])
    positions, cells = np.vstack([m.positions for m in molecules]), np.zeros((2, 3, 3))
    good, none = batch.compute(positions, cells, stress=False)
    assert none == {}
    positions[1, 0] = bad
    found, faults = batch.compute(positions, cells, stress=False)
    assert list(faults) == [0]
    assert isinstance(faults[0], StructureError)
    assert found.energy[1] == good.energy[1]
