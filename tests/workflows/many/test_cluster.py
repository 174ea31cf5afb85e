import sys
from types import SimpleNamespace

import pytest
from distributed import KilledWorker

from tdncalc.errors import OptionError, OutOfMemoryError
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


def test_missing_dask_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with (
        pytest.raises(OptionError, match=r"pip install 'tdncalc\[dask\]'"),
        cluster.connected("tcp://127.0.0.1:1"),
    ):
        pass
