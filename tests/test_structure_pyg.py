import numpy as np
import pytest
import torch
from torch_geometric.data import Batch, Data

from tdncalc.errors import StructureError
from tdncalc.structures.pyg import is_pyg, split_pyg
from tests.structures import structure

CRYSTALS = ("slab", "organic box", "one-atom fcc cell")


def to_data(atoms, **fields) -> Data:
    return Data(z=torch.as_tensor(atoms.numbers), pos=torch.as_tensor(atoms.positions), **fields)


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one.numbers, other.numbers)
        assert np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.cell.array, other.cell.array)
        assert np.array_equal(one.pbc, other.pbc)


def test_batch_of_molecules_is_split():
    molecules = [structure(name) for name in ("water", "aspirin", "single atom")]
    assert_same(split_pyg(Batch.from_data_list([to_data(m) for m in molecules])), molecules)


@pytest.mark.parametrize("shape", [(3,), (1, 3)])
def test_batch_of_crystals_is_split(shape):
    crystals = [structure(name) for name in CRYSTALS]
    batch = Batch.from_data_list(
        [
            to_data(c, cell=torch.as_tensor(c.cell.array).reshape(*shape[:-1], 3, 3),
                    pbc=torch.as_tensor(c.pbc).reshape(shape))
            for c in crystals
        ]
    )  # fmt: skip
    assert_same(split_pyg(batch), crystals)


def test_one_graph_is_one_structure():
    assert_same(split_pyg(to_data(structure("water"))), [structure("water")])


def test_cell_without_pbc_is_periodic_along_its_vectors():
    wire = structure("wire")
    wire.cell[:2] = 0.0
    (atoms,) = split_pyg(to_data(wire, cell=torch.as_tensor(wire.cell.array)))
    assert atoms.pbc.tolist() == [False, False, True]


def test_graph_without_positions_is_refused():
    with pytest.raises(StructureError, match=r"lacks z .* or pos"):
        split_pyg(Data(z=torch.tensor([1])))


def test_wrong_shapes_are_refused():
    water = to_data(structure("water"), cell=torch.ones(2, 3))
    with pytest.raises(StructureError, match="PyG batch of 1 has wrong shapes"):
        split_pyg(water)


def test_only_graphs_are_graphs():
    assert is_pyg(Data())
    assert is_pyg(Batch.from_data_list([to_data(structure("water"))]))
    assert not is_pyg([structure("water")])


def test_potential_evaluates_a_batch_of_graphs(potential):
    atoms = [structure(name) for name in ("water", *CRYSTALS)]
    batch = Batch.from_data_list(
        [to_data(a, cell=torch.as_tensor(a.cell.array), pbc=torch.as_tensor(a.pbc)) for a in atoms]
    )
    for one, other in zip(potential.evaluate(batch), potential.evaluate(atoms), strict=True):
        assert one.keys() == other.keys()
        for key, value in other.items():
            assert np.array_equal(one[key], value), key
