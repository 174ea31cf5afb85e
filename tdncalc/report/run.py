"""What is known of a run once its files are read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

Kind: TypeAlias = Literal["md", "relax", "many", "frames"]
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class RunPaths:
    """The files of a run.

    Attributes
    ----------
    kind
        ``md``, ``relax``, ``many`` (structures relaxed together), or ``frames`` of any file.
    name
        What a reader calls the run.
    frames
        The trajectory or the structures.
    table
        The rows of the dynamics, or the records of many structures.
    summary
        The JSON object that the command left.
    """

    kind: Kind
    name: str
    frames: Path | None
    table: Path | None = None
    summary: Path | None = None


@dataclass(frozen=True)
class Run:
    """A run as it was read.

    Attributes
    ----------
    paths
        Where it came from.
    kind
        As in `RunPaths`; ``frames`` of different structures have become ``many``.
    frames
        The structures to be shown, each with the results that its file has.
    rows
        Of each frame, its row in `columns`; empty for ``many``.
    columns
        Quantities against time or step, each ``(rows,)``; NaN where there is none. The first is
        the abscissa.
    records
        One object a structure, of ``many``.
    summary
        What the command left.
    notes
        What a reader must be told: frames left out, files that are missing.
    warnings
        What is wrong with the files, which whoever makes the report must be told as well.
    unwrapped
        Positions of the frames, (F, N, 3), followed through the periodic boundaries over every
        frame of the trajectory; None where nothing is periodic.
    """

    paths: RunPaths
    kind: Kind
    frames: list[Atoms]
    rows: list[int] = field(default_factory=list)
    columns: dict[str, Floats] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    unwrapped: Floats | None = None

    @property
    def name(self) -> str:
        """What a reader calls the run."""
        return self.paths.name

    @property
    def final(self) -> Atoms | None:
        """The last structure of a trajectory; None for many structures, or without any."""
        return self.frames[-1] if self.frames and self.kind != "many" else None
