"""Numbers and text in few bytes: what Python packs here, ``data.js`` unpacks."""

import base64
import json
import struct
import zlib
from typing import Any

import numpy as np

from tdncalc.errors import StructureError
from tdncalc.report.run import Floats

POSITION_STEP = 1e-4  # Å; positions are off by half of it at most
FORCE_STEP = 1e-3  # eV/Å


class Packer:
    """One JSON object with arrays beside it.

    An array is rounded to whole steps, written as the difference to the frame before, and its
    bytes are sorted by their place in the integer: atoms move little between two frames, so that
    three planes of four are nearly constant and deflate takes them away.
    """

    def __init__(self) -> None:
        self._blobs: list[bytes] = []
        self._size = 0

    def add(self, values: Floats, step: float) -> dict[str, Any]:
        """Add an array (F, ...) and return what stands for it in the JSON object.

        Raises
        ------
        StructureError
            A number is not finite or is too large for 32 bits.
        """
        whole = np.rint(np.asarray(values, dtype=float) / step)
        if not np.isfinite(whole).all() or np.abs(whole).max(initial=0.0) >= 2**31:
            raise StructureError("positions are not finite or lie too far from the origin to show")
        integers = whole.astype(np.int32)
        with np.errstate(over="ignore"):  # the difference wraps around, and so does the sum
            integers[1:] -= integers[:-1].copy()
        planes = integers.astype("<i4").reshape(-1).view(np.uint8).reshape(-1, 4).T
        return self._append(planes.tobytes(), {"shape": list(np.shape(values)), "step": step})

    def _append(self, data: bytes, described: dict[str, Any]) -> dict[str, Any]:
        described |= {"at": self._size, "bytes": len(data)}
        self._blobs.append(data)
        self._size += len(data)
        return described

    def pack(self, value: dict[str, Any]) -> str:
        """Return the object and its arrays as base64 of deflated bytes.

        First come four bytes with the length of the JSON text, then the text, then the arrays.
        """
        text = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
        return deflated(b"".join([struct.pack("<I", len(text)), text, *self._blobs]))


def deflated(data: bytes) -> str:
    """Return deflated bytes as base64, which needs no escaping in HTML."""
    return base64.b64encode(zlib.compress(data, level=9)).decode("ascii")


def numbers(values: Floats, digits: int = 7) -> list[float | None]:
    """Give numbers as JSON has them: rounded, and null for what is not finite."""
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in values]
