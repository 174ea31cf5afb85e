import dataclasses

import torch
from ase.build import molecule

from tdncalc.fused.padding import pad_edges
from tdncalc.fused.recording import Recording
from tdncalc.fused.row_memory import remembered_rows
from tdncalc.fused.rows import make_rows


def seen(graph, offsets):
    """Tell what an evaluation would read."""
    source, target = graph.edge_index
    rows = [remembered_rows(*ends, 3) for ends in ((target, source), (source, target))]
    lists = {f"{n}{m}": x for n, one in enumerate(rows) for m, x in enumerate(one.tensors())}
    return vars(graph) | {"offsets": offsets} | lists


class Memory:
    """A recorder that always reads where an evaluation read when it was recorded."""

    def __call__(self, function):
        found = function()
        return lambda: found


def test_recording_reads_new_values_where_it_was_recorded(potential):
    graph = potential.graph(molecule("H2O"))
    recording = Recording(seen, *pad_edges(graph, 9, 9.0), Memory())
    reverse = dataclasses.replace(
        graph, edge_index=graph.edge_index[:, [1, 0, 5]], edge_shift=graph.edge_shift[:3] + 1
    )
    padded, offsets = pad_edges(reverse, 9, 8.0)
    first = recording.compute(graph)
    recording.list_edges(padded, offsets)
    moved = dataclasses.replace(
        reverse, positions=graph.positions + 1, numbers=graph.numbers + 1, cell=graph.cell + 1
    )
    found = recording.compute(moved)
    assert torch.equal(first["positions"], graph.positions)  # not those of the next step
    source, target = padded.edge_index
    rows = make_rows(target, source, 3), make_rows(source, target, 3)
    expected = {
        "numbers": moved.numbers,
        "positions": moved.positions,
        "cell": moved.cell,
        "edge_index": padded.edge_index,
        "edge_shift": padded.edge_shift,
        "batch": graph.batch,
        "offsets": offsets,
    } | {f"{n}{m}": x for n, one in enumerate(rows) for m, x in enumerate(one.tensors())}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name
