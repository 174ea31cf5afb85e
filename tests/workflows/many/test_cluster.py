import sys
from types import SimpleNamespace

import pytest
from ase.build import molecule
from distributed import KilledWorker

from tdncalc.checkpoint import load_model
from tdncalc.errors import OptionError, OutOfMemoryError, StructureError, TDNError
from tdncalc.workflows.many import cluster


def killed():
    raise KilledWorker("task", SimpleNamespace(name="worker"), 3)


def test_structures_of_a_task_that_kills_workers_are_tried_one_by_one():
    again = []
    future = SimpleNamespace(result=killed)
    assert list(cluster._collect(future, [(4, "a"), (5, "b")], again)) == []
    assert again == [[(4, "a")], [(5, "b")]]


def test_structure_that_kills_workers_alone_is_an_error_of_its_own():
    future = SimpleNamespace(result=killed)
    ((index, error),) = cluster._collect(future, [(7, "a")], [])
    assert index == 7
    assert isinstance(error, OutOfMemoryError)


def gone(*_):
    raise OSError("Timed out trying to connect")


def test_a_scheduler_that_dies_is_one_line():
    client = SimpleNamespace(nthreads=gone, cancel=gone)
    with pytest.raises(TDNError, match=r"the Dask scheduler is gone; .* --resume"):
        list(cluster._spread(client, None, ["a"], 1, lambda: False))


def test_a_file_that_cannot_be_read_is_not_blamed_on_the_scheduler():
    client = SimpleNamespace(nthreads=dict, cancel=list)
    with pytest.raises(FileNotFoundError):
        list(cluster._spread(client, None, map(open, ["none.xyz"]), 1, lambda: False))


def test_a_scheduler_file_that_is_not_there_is_not_waited_for(tmp_path):
    with (
        pytest.raises(OptionError, match="no Dask scheduler answers at"),
        cluster.connected(str(tmp_path / "none.json")),
    ):
        pass


@pytest.mark.parametrize("told", [OutOfMemoryError("too large"), StructureError("too long")])
def test_structures_that_fail_together_are_tried_one_by_one(told):
    def failed():
        raise told

    again, future = [], SimpleNamespace(result=failed)
    assert list(cluster._collect(future, [(4, "a"), (5, "b")], again)) == []
    assert again == [[(4, "a")], [(5, "b")]]
    ((index, error),) = cluster._collect(future, [(7, "a")], [])
    assert (index, str(error)) == (7, str(told))


def test_a_worker_says_as_much_as_the_model_does_here():
    potential, atoms = load_model("organic", device="cpu"), molecule("H2O")
    model = cluster.WorkerModel(
        "organic", "cpu", "float32", "eager", None, potential.card["sha256"]
    )
    (there,), (here,) = cluster._evaluate(model, [atoms]), potential.evaluate([atoms])
    assert there.keys() == here.keys()
    assert "novelty" in here


def test_missing_dask_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(OptionError, match=r"pip install 'tdncalc\[dask\]'"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass
