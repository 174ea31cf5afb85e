import dataclasses
import threading
import time
from contextlib import contextmanager

import pytest
import torch
from ase.build import molecule

from tdncalc.fused.padding import pad_edges
from tdncalc.fused.recording import Recording, cuda_graph
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
        "pbc": moved.pbc,
        "edge_index": padded.edge_index,
        "edge_shift": padded.edge_shift,
        "batch": graph.batch,
        "offsets": offsets,
    } | {f"{n}{m}": x for n, one in enumerate(rows) for m, x in enumerate(one.tensors())}
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


class Driver(threading.local):
    """Stands for the CUDA of a machine with two GPUs, under torch's own code for recording.

    Each thread has its device, its stream, and the graphs that it made.
    """

    def __init__(self):
        self.device, self.stream, self.graphs = 0, None, []

    @contextmanager
    def on(self, stream):
        before = self.device, self.stream
        self.device, self.stream = stream.device, stream
        yield
        self.device, self.stream = before


@pytest.fixture
def driver(monkeypatch):
    driver = Driver()

    class Stream:
        def __init__(self):
            self.device = driver.device

        def wait_stream(self, other):
            pass

    class Graph:
        def __init__(self):
            self.replayed = 0
            driver.graphs.append(self)

        def capture_begin(self, *, capture_error_mode, **_options):
            self.device, self.mode = driver.stream.device, capture_error_mode

        def capture_end(self):
            pass

        def replay(self):
            self.replayed += 1

    replaced = {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "stream": driver.on,
        "current_stream": Stream,
        "synchronize": lambda: None,
        "empty_cache": lambda: None,
    }
    for name, value in replaced.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda.graph, "default_capture_stream", None)
    return driver


def test_each_gpu_is_recorded_by_a_stream_of_its_own(driver):
    for device in (0, 1):
        driver.device = device
        replay = cuda_graph(dict)
        replay()
        assert driver.graphs[device].device == device
        assert driver.graphs[device].replayed == 1
        assert (driver.device, driver.stream) == (device, None)


def test_other_threads_may_use_the_gpu_during_a_recording(driver):
    cuda_graph(dict)
    assert driver.graphs[0].mode == "thread_local"


def test_two_threads_record_one_after_another(driver):
    now, most = [], []

    def function():
        if hasattr(driver.graphs[0], "mode"):  # no more warming up
            now.append(1)
            time.sleep(0.05)
            most.append(len(now))
            now.pop()
        return {}

    threads = [threading.Thread(target=cuda_graph, args=(function,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1]
