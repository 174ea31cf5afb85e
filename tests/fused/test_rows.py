import torch

from tdncalc.fused.row_memory import remember_rows, remembered_rows
from tdncalc.fused.rows import make_rows

ATOMS, OTHERS = torch.tensor([3, 0, 3, 1, 0]), torch.tensor([0, 1, 2, 3, 4])


def test_rows_list_the_edges_of_each_atom():
    rows = make_rows(ATOMS, OTHERS, 6)
    assert rows.starts.tolist() == [0, 2, 3, 3, 5, 5, 5]
    assert rows.edges.tolist() == [1, 4, 3, 0, 2]
    assert rows.others.tolist() == [1, 4, 3, 0, 2]
    assert {x.dtype for x in rows.tensors()} == {torch.int32}


def test_rows_are_made_once_for_the_same_tensors():
    edges = torch.stack([ATOMS, OTHERS])
    first = remembered_rows(edges[0], edges[1], 6)
    assert remembered_rows(edges[0], edges[1], 6) is first
    assert remembered_rows(edges[1], edges[0], 6) is not first
    assert remembered_rows(edges[0], edges[1], 7).starts.shape == (8,)


def test_rows_of_tensors_that_change_are_made_anew():
    edges = torch.stack([ATOMS, OTHERS])
    remembered_rows(edges[0], edges[1], 6)
    edges[0, 0] = 5
    assert remembered_rows(edges[0], edges[1], 6).starts.tolist() == [0, 2, 3, 3, 4, 4, 5]


def test_rows_of_tensors_without_a_count_of_changes_are_never_remembered():
    with torch.inference_mode():
        edges = torch.stack([ATOMS, OTHERS])
        remembered_rows(edges[0], edges[1], 6)
        edges[0, 0] = 5
        assert remembered_rows(edges[0], edges[1], 6).starts[-2] == 4


def test_rows_can_be_given():
    atoms, others = ATOMS.clone(), OTHERS.clone()
    rows = make_rows(atoms, others, 6)
    remember_rows(atoms, others, 6, rows)
    assert remembered_rows(atoms, others, 6) is rows
