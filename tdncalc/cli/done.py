"""Which inputs an earlier run has done already, and whether they are still the same."""

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tdncalc.errors import CheckpointError

if TYPE_CHECKING:
    from ase import Atoms

    from tdncalc.structures import Source


class Done:
    """Inputs by their name; one that was given twice is done twice.

    Parameters
    ----------
    results
        The file of results.
    spelled
        How that file gives a name back.
    """

    def __init__(self, results: Path, spelled: Callable[[str], str] = str) -> None:
        self._results, self._spelled = results, spelled
        self._digests: defaultdict[str, deque[str | None]] = defaultdict(deque)

    def add(self, label: str, known: str | None) -> None:
        """Note one; its digest is not known of files that an older version wrote."""
        self._digests[label].append(known)

    def rest(self, sources: "Iterable[Source]") -> "Iterator[Source]":
        """Give those that are not done yet.

        Raises
        ------
        CheckpointError
            One that is done is another structure now.
        """
        for source in sources:
            if self._digests and (waiting := self._digests.get(self._spelled(source.label))):
                known = waiting.popleft()
                if known not in (None, digest(source.atoms)):
                    raise CheckpointError(
                        f"{source.label} has changed since it was done in {self._results}; start "
                        "anew, or give it another name"
                    )
            else:
                yield source


def digest(atoms: "Atoms") -> str:
    """Return a digest of elements, positions and cell."""
    arrays = (
        atoms.numbers.astype("<i8"),
        atoms.positions.astype("<f8"),
        atoms.cell.array.astype("<f8"),
        atoms.pbc.astype("?"),
    )
    content = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return hashlib.sha256(content).hexdigest()[:16]
