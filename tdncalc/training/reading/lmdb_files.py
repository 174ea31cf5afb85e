"""LMDB files: which of the layouts one has is seen from its first value."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdncalc.errors import DataError
from tdncalc.training.frames import Structure
from tdncalc.training.reading import catalysts, pubchemqcr
from tdncalc.training.reading.extras import needed

__all__ = ["read"]

_NO_STRUCTURE = {b"length", b"nextid", b"deleted_ids", b"metadata"}
_DECODERS = {
    b"\x1f\x8b": pubchemqcr.decode,  # gzip
    b"\x78": catalysts.decode_row,  # zlib
    b"\x80": catalysts.decode_graph,  # pickle
}


def read(path: Path, wanted: dict[str, str]) -> Iterator[Structure]:
    """Yield the structures of PubChemQCR's LMDB, of fairchem's ASE-LMDB, or of OC20's graphs.

    Raises
    ------
    DataError
        No LMDB file, none of these layouts, or a pickle that would run code.
    """
    lmdb = needed("lmdb")
    try:
        environment = lmdb.open(
            str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
        )
    except lmdb.Error as error:
        raise DataError(f"{path}: cannot be read as LMDB ({error})") from error
    _require_whole(environment, path)
    with environment, environment.begin() as transaction:
        for key, value in transaction.cursor():
            if key not in _NO_STRUCTURE:
                label = f"{path}: {key.decode(errors='replace')}"
                decode = next(
                    (d for start, d in _DECODERS.items() if value.startswith(start)), None
                )
                if decode is None:
                    raise DataError(f"{label} is neither of PubChemQCR nor of OC20 nor an ASE row")
                yield from decode(key, value, label, wanted)


def _require_whole(environment: Any, path: Path) -> None:  # noqa: ANN401
    """Refuse a file that was cut off: reading beyond its end would kill the process."""
    file = path / "data.mdb" if path.is_dir() else path
    size = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if file.stat().st_size < size:
        environment.close()
        raise DataError(
            f"{path}: cut off, it has {file.stat().st_size} of {size} bytes; fetch it again"
        )
