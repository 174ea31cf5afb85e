"""Lists of the edges of every atom, kept while the edges stay the same tensors."""

import threading
from collections import deque

from torch import Tensor

from tdncalc.fused.rows import Rows, make_rows

__all__ = ["remember_rows", "remembered_rows"]

_KEPT = 4  # of two lists of edges

_Key = tuple[int, int, int, int]
# the tensors are kept with their rows, so that no other ones can take their place in memory
_memory: deque[tuple[tuple[_Key, _Key], int, tuple[Tensor, Tensor], Rows]] = deque(maxlen=_KEPT)
_lock = threading.Lock()


def remembered_rows(atoms: Tensor, others: Tensor, n_atoms: int) -> Rows:
    """Return what :func:`make_rows` does, made once for as long as the tensors are not changed."""
    if atoms.is_inference() or others.is_inference():
        return make_rows(atoms, others, n_atoms)  # nobody counts how often these are changed
    keys = _key(atoms), _key(others)
    with _lock:
        for known, size, _, rows in _memory:
            if known == keys and size == n_atoms:
                return rows
    rows = make_rows(atoms, others, n_atoms)
    remember_rows(atoms, others, n_atoms, rows)
    return rows


def remember_rows(atoms: Tensor, others: Tensor, n_atoms: int, rows: Rows) -> None:
    """Let :func:`remembered_rows` return these rows for the tensors as they are now."""
    entry = (_key(atoms), _key(others)), n_atoms, (atoms.detach(), others.detach()), rows
    with _lock:
        _memory.appendleft(entry)


def _key(tensor: Tensor) -> _Key:
    return tensor.data_ptr(), tensor._version, len(tensor), tensor.get_device()
