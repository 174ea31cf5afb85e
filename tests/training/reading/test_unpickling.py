import builtins
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tdncalc.errors import DataError
from tdncalc.training.reading.unpickling import load_plain, load_with_arrays

PLAIN = {"a": [1, 2.5, None, True, b"x"], "b": ("c", {"d": 1j.imag})}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_types_and_arrays_come_back(protocol: int) -> None:
    assert load_plain(pickle.dumps(PLAIN, protocol), "f") == PLAIN
    arrays = {
        "n": np.arange(6.0).reshape(2, 3),
        "s": np.float32(2.5),
        "t": torch.arange(4.0).reshape(2, 2),
        "i": torch.tensor([3], dtype=torch.int64),
    }
    loaded = load_with_arrays(pickle.dumps(arrays, protocol), "f")
    assert loaded["n"].tolist() == arrays["n"].tolist()
    assert loaded["s"] == 2.5
    assert loaded["t"].tolist() == [[0, 1], [2, 3]]
    assert loaded["i"].item() == 3


class Call:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, Any]:
        return self.call


def hostile(path: Path) -> list[object]:
    touch = f"touch {path}"
    inner = pickle.dumps(Call(os.system, touch))
    return [
        Call(os.system, touch),
        Call(builtins.eval, f"open({str(path)!r}, 'w')"),
        Call(builtins.getattr, path, "touch"),
        Call(subprocess.run, ["touch", str(path)]),
        Call(pickle.loads, inner),
        Call(torch.load, str(path)),
        np.array([Call(os.system, touch)], dtype=object),
        {"deep": [[{"x": Call(os.system, touch)}]]},
    ]


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("load", [load_plain, load_with_arrays])
def test_nothing_else_is_executed(index: int, load: Any, tmp_path: Path) -> None:
    data = pickle.dumps(hostile(tmp_path / "owned")[index])
    with pytest.raises(DataError, match=r"f: would run code when loaded \("):
        load(data, "f")
    assert not (tmp_path / "owned").exists()


def test_code_inside_of_a_tensor_is_not_executed(tmp_path: Path) -> None:
    import io

    file = io.BytesIO()
    torch.save(Call(os.system, f"touch {tmp_path / 'owned'}"), file)
    data = pickle.dumps(Call(torch.storage._load_from_bytes, file.getvalue()))
    with pytest.raises(DataError, match="f: "):
        load_with_arrays(data, "f")
    assert not (tmp_path / "owned").exists()


def test_an_array_is_not_plain() -> None:
    with pytest.raises(DataError, match="numpy"):
        load_plain(pickle.dumps(np.zeros(3)), "f")


def test_a_cut_pickle_is_damaged() -> None:
    with pytest.raises(DataError, match="f: a damaged pickle"):
        load_plain(pickle.dumps(PLAIN)[:-5], "f")
