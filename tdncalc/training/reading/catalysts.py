"""OC20 and OC22, and what fairchem writes: rows of ASE's database or PyG graphs in LMDB."""

import json
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ase.stress import voigt_6_to_full_3x3_stress

from tdncalc.errors import DataError
from tdncalc.training.frames import Floats, Structure
from tdncalc.training.reading.unpickling import Record, load_with_arrays

__all__ = ["decode_graph", "decode_row"]

_EVERYWHERE = (True, True, True)


def decode_row(
    _key: bytes, value: bytes, label: str, _wanted: Mapping[str, str]
) -> Iterator[Structure]:
    """Yield the structure of one row of an ``.aselmdb``: zlib of JSON with the fields of ASE.

    Units are ASE's: eV, Å, eV/Å, eV/Å³. The pairs of key and value choose structures.
    """
    try:
        row = json.loads(zlib.decompress(value), object_hook=_array_of_ase)
        pairs = dict(row.get("key_value_pairs") or {})
        stress = row.get("stress")
        yield Structure(
            numbers=np.asarray(row["numbers"], dtype=np.int64),
            positions=np.asarray(row["positions"], dtype=np.float64),
            forces=_required(row, ("forces",), label),
            energy=float(_required(row, ("energy",), label)),
            cell=np.asarray(row["cell"], dtype=np.float64),
            pbc=row["pbc"],
            stress=None if stress is None else _full(np.asarray(stress, dtype=np.float64)),
            info=pairs,
            kind=str(pairs.get("config_type", "all")),
        )
    except DataError:
        raise
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{label}: not a row of ASE's database ({error})") from error


def decode_graph(
    _key: bytes, value: bytes, label: str, _wanted: Mapping[str, str]
) -> Iterator[Structure]:
    """Yield the structure of one pickled PyG graph, as OC20's and OC22's first files hold them.

    ``pos`` (N, 3) and ``cell`` (1, 3, 3) in Å, ``atomic_numbers`` (N,), ``energy`` or, of older
    files, ``y`` in eV, ``forces`` or ``force`` (N, 3) in eV/Å. Periodic in all directions unless
    ``pbc`` says otherwise. The class is not imported and nothing in the pickle is executed.
    """
    fields = _fields(load_with_arrays(value, label))
    if "pos" not in fields or "atomic_numbers" not in fields:
        raise DataError(f"{label}: a graph without pos and atomic_numbers")
    numbers, positions = (np.asarray(fields[name]) for name in ("atomic_numbers", "pos"))
    yield Structure(
        numbers=numbers.astype(np.int64).reshape(-1),
        positions=positions.astype(np.float64).reshape(-1, 3),
        forces=_required(fields, ("forces", "force"), label).reshape(-1, 3),
        energy=float(_required(fields, ("energy", "y"), label).reshape(-1)[0]),
        cell=np.asarray(fields.get("cell", np.zeros((3, 3))), dtype=np.float64).reshape(3, 3),
        pbc=np.asarray(fields.get("pbc", _EVERYWHERE)).reshape(3).astype(bool),
        info={name: fields[name] for name in ("sid", "fid") if name in fields},
    )


def _fields(graph: object) -> dict[str, Any]:
    """Return what a PyG graph holds: newer ones keep it in a store, older ones in themselves."""
    if not isinstance(graph, Record):
        return graph if isinstance(graph, dict) else {}
    store = graph.state.get("_store", graph)
    state = store.state if isinstance(store, Record) else graph.state
    return dict(state.get("_mapping", state))


def _required(fields: Mapping[str, Any], names: tuple[str, ...], label: str) -> Floats:
    for name in names:
        if fields.get(name) is not None:
            return np.asarray(fields[name], dtype=np.float64)
    raise DataError(f"{label}: a structure to learn from needs energy and forces")


def _full(stress: Floats) -> Floats:
    return voigt_6_to_full_3x3_stress(stress) if stress.shape == (6,) else stress.reshape(3, 3)


def _array_of_ase(value: dict[str, Any]) -> Any:  # noqa: ANN401
    """Undo the way in which ASE writes an array as JSON."""
    if "__ndarray__" not in value:
        return value
    shape, dtype, flat = value["__ndarray__"]
    return np.array(flat, dtype=dtype).reshape(shape)
