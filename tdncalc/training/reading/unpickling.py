"""Pickles from elsewhere, of which nothing is ever executed but what rebuilds arrays."""

import io
import pickle
from typing import Any

import numpy as np
import torch

from tdncalc.errors import DataError

__all__ = ["Record", "load_plain", "load_with_arrays"]


class Record:
    """The attributes of an object of a class that is not imported."""

    def __init__(self, *_arguments: object) -> None:
        self.state: dict[str, Any] = {}

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.state = state


def load_plain(data: bytes, label: str) -> Any:  # noqa: ANN401 - whatever plain types it holds
    """Load a pickle of dicts, lists, tuples, strings, bytes, numbers and None.

    Raises
    ------
    DataError
        It holds anything else, or is damaged.
    """
    return _load(data, label, _PLAIN)


def load_with_arrays(data: bytes, label: str) -> Any:  # noqa: ANN401
    """Load a pickle that may also hold numpy arrays, torch tensors and PyG's Data.

    Objects of PyG become a :class:`Record`.

    Raises
    ------
    DataError
        It holds anything else, or is damaged.
    """
    return _load(data, label, _ARRAYS)


def _load(data: bytes, label: str, allowed: dict[tuple[str, str], Any]) -> Any:  # noqa: ANN401
    try:
        return _Unpickler(io.BytesIO(data), allowed).load()
    except _ForbiddenError as error:
        raise DataError(
            f"{label}: would run code when loaded ({error}) and is not opened"
        ) from error
    except Exception as error:
        raise DataError(f"{label}: a damaged pickle ({type(error).__name__}: {error})") from error


class _ForbiddenError(pickle.UnpicklingError):
    """A name that is not on the list."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, allowed: dict[tuple[str, str], Any]) -> None:
        super().__init__(file)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
        """Return what a name stands for, if it is on the list; nothing is imported by name."""
        try:
            return self._allowed[module, name]
        except KeyError:
            raise _ForbiddenError(f"{module}.{name}") from None


def _latin1(text: str, encoding: str) -> bytes:
    """Make the bytes that older protocols of pickle write as a text."""
    if encoding != "latin1":
        raise _ForbiddenError(f"text in {encoding}")
    return text.encode("latin1")


def _storage(data: bytes) -> Any:  # noqa: ANN401
    """Load the storage of a tensor, which lies in a pickle as a file of torch's own."""
    return torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")


def _dtype(name: str, *flags: object) -> np.dtype[Any]:
    dtype = np.dtype(name, *flags)  # type: ignore[call-overload]
    if dtype.hasobject:
        raise _ForbiddenError("an array of objects")
    return dtype  # type: ignore[no-any-return]


# what numpy itself pickles by: the names of its modules change with its version
_RECONSTRUCT, _SCALAR = np.empty(0).__reduce__()[0], np.float64(0).__reduce__()[0]
_FROMBUFFER = np.empty(1).__reduce_ex__(5)[0]
_PLAIN: dict[tuple[str, str], Any] = {("_codecs", "encode"): _latin1}
_PYG = ("torch_geometric.data.data", "torch_geometric.data.storage")
_PYG_CLASSES = ("Data", "DataEdgeAttr", "DataTensorAttr", "GlobalStorage")
_ARRAYS: dict[tuple[str, str], Any] = {
    **_PLAIN,
    ("collections", "OrderedDict"): dict,
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): np.ndarray,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch.storage", "_load_from_bytes"): _storage,
    **{(module, name): Record for module in _PYG for name in _PYG_CLASSES},
    **{
        (f"numpy.{place}.multiarray", name): function
        for place in ("core", "_core")
        for name, function in (("_reconstruct", _RECONSTRUCT), ("scalar", _SCALAR))
    },
    **{(f"numpy.{place}.numeric", "_frombuffer"): _FROMBUFFER for place in ("core", "_core")},
}
