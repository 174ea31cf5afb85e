"""The files of a run, read into one object."""

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io.trajectory import Trajectory, TrajectoryReader

from tdncalc.errors import OptionError, StructureError
from tdncalc.patterns import expand
from tdncalc.report.analysis import unwrapped
from tdncalc.report.finding import find_runs
from tdncalc.report.measures import densities, frame_columns
from tdncalc.report.run import Floats, Run, RunPaths
from tdncalc.report.tables import read_columns, read_records, read_summary
from tdncalc.structures.parsing import read_frames, read_whole_frames
from tdncalc.wording import counted

_ALL = slice(None)
_EXTXYZ = (".extxyz", ".xyz")


def read_runs(specs: Sequence[str], *, max_frames: int = 2000) -> list[Run]:
    """Read runs.

    Parameters
    ----------
    specs
        Summaries, trajectories, tables, structure files, patterns of them, stems or folders.
    max_frames
        Of a longer trajectory so many are kept, evenly spaced.

    Returns
    -------
    list of Run
        In the given order, each once.

    Raises
    ------
    StructureError
        There is no run of a name, or a file of it cannot be read.
    OptionError
        `max_frames` is below 2.
    """
    names = [name for spec in specs for name in expand(spec)]
    paths = {run.name: run for name in names for run in find_runs(name)}
    return [_read(run, max_frames) for run in paths.values()]


def _read(paths: RunPaths, max_frames: int) -> Run:
    if paths.kind == "many":
        return _read_many(paths)
    with ExitStack() as opened:
        return _read_one(paths, max_frames, opened)


def _read_one(paths: RunPaths, max_frames: int, opened: ExitStack) -> Run:
    frames: Sequence[Atoms] = []
    notes = []
    columns, warnings = ({}, []) if paths.table is None else read_columns(paths.table)
    if paths.frames is not None:
        frames, told = _frames(paths.frames, opened if columns else None)
        warnings += told
    else:
        notes.append("No trajectory was found, so that there is no structure to show.")
    if paths.kind == "frames" and _differ(frames):
        return _of_structures(paths, frames, warnings)
    summary = _summary(paths)
    rows = _spread(len(frames), max_frames)
    if len(rows) < len(frames):
        notes.append(f"{len(rows)} of {len(frames)} frames are shown, evenly spaced.")
    if n_rows := len(next(iter(columns.values()), ())):
        if n_rows < len(frames):
            notes.append(f"The table ends with row {n_rows}; the frames behind it are not shown.")
        rows = [row for row in rows if row < n_rows]
    else:
        columns = frame_columns(frames, paths.kind, summary)
    shown, followed = _pick(frames, rows, paths.frames)
    if shown and paths.kind != "relax":
        columns |= densities(columns, shown[0])
    return Run(
        paths,
        paths.kind,
        shown,
        rows,
        columns,
        summary=summary,
        notes=notes,
        warnings=warnings,
        unwrapped=followed,
    )


def _frames(path: Path, opened: ExitStack | None) -> tuple[Sequence[Atoms], list[str]]:
    """Read frames, and warnings; those of a trajectory that may stay open when asked for."""
    if opened is None or path.suffix != ".traj":
        return _all_frames(path)
    begun = list(read_frames(path, slice(1)))  # tells what is wrong with a file as of any other
    return opened.enter_context(Trajectory(str(path))) if begun else [], []


def _all_frames(path: Path) -> tuple[list[Atoms], list[str]]:
    """Read frames; of an extxyz file that was cut off in one, those before, with a warning."""
    try:
        return list(read_frames(path, _ALL)), []
    except StructureError:
        if path.suffix not in _EXTXYZ:
            raise
        frames, warnings = _whole_frames(path)
        if not (frames and warnings):
            raise
        return frames, warnings


def _whole_frames(path: Path) -> tuple[list[Atoms], list[str]]:
    frames, is_cut = read_whole_frames(path)
    there = f"the {counted(len(frames), 'structure')} before {'is' if len(frames) == 1 else 'are'}"
    warning = f"{path} is cut off in the middle of a structure; {there} shown"
    return frames, [warning] if is_cut else []


def _pick(
    frames: Sequence[Atoms], rows: Sequence[int], path: Path | None
) -> tuple[list[Atoms], Floats | None]:
    """Take some frames, and their positions followed through boundaries over those between."""
    try:
        shown = [frames[row] for row in rows]
        if not (shown and shown[0].pbc.any()):
            return shown, None
        passed = itertools.islice(_geometries(frames), rows[-1] + 1)
        return shown, unwrapped(passed, np.asarray(shown[0].pbc), rows)
    except Exception as error:  # of a parser, which may raise anything
        raise StructureError(f"{path}: is perhaps truncated or damaged ({error})") from error


def _geometries(frames: Sequence[Atoms]) -> Iterator[tuple[Floats, Floats]]:
    """Give positions and cells, which alone are read of a trajectory that is open."""
    if isinstance(frames, TrajectoryReader):
        stored = (frames.backend[number] for number in range(len(frames)))
        yield from ((one.positions, np.array(one.cell, dtype=float)) for one in stored)
    else:
        yield from ((atoms.positions, atoms.cell.array) for atoms in frames)


def _summary(paths: RunPaths) -> dict[str, Any]:
    """Read the summary; of one of several replicas with what is said of it."""
    summary = read_summary(paths.summary) if paths.summary else {}
    number = paths.name.rpartition("-")[2]
    for replica in summary.pop("runs", []):
        if number.isdecimal() and replica["replica"] == int(number):
            summary |= replica
    return summary


def _read_many(paths: RunPaths) -> Run:
    """Read structures and their records, which have the same order."""
    records = read_records(paths.table) if paths.table else []
    summary = _summary(paths)
    if paths.frames is None:
        notes = ["relaxed.extxyz was not found, so that there are no structures to show."]
        return Run(paths, "many", [], records=records, summary=summary, notes=notes)
    frames, warnings = _structures(paths.frames)
    if not frames:
        return Run(paths, "many", [], records=records, summary=summary, warnings=warnings)
    n = min(len(frames), len(records))
    notes = []
    if len(frames) != len(records):
        notes.append(
            f"There are {len(frames)} structures and {len(records)} records; the first {n} of each "
            "are shown."
        )
    return Run(
        paths,
        "many",
        frames[:n],
        records=records[:n],
        summary=summary,
        notes=notes,
        warnings=warnings,
    )


def _structures(path: Path) -> tuple[list[Atoms], list[str]]:
    """Read what many relaxations left, each of whose frames ends with its line."""
    frames, warnings = _whole_frames(path) if path.suffix in _EXTXYZ else ([], [])
    return (frames, warnings) if frames or warnings else _all_frames(path)


def _of_structures(paths: RunPaths, frames: Sequence[Atoms], warnings: list[str]) -> Run:
    """Take different structures of one file, such as `tdn energy -o` writes."""
    records = [_record(atoms, number, paths.frames) for number, atoms in enumerate(frames)]
    return Run(paths, "many", list(frames), records=records, warnings=warnings)


def _record(atoms: Atoms, number: int, path: Path | None) -> dict[str, Any]:
    results = atoms.calc.results if atoms.calc is not None else {}
    record: dict[str, Any] = {
        "input": str(atoms.info.get("input") or atoms.info.get("name") or f"{path}@{number}"),
        "n_atoms": len(atoms),
    }
    if "energy" in results:
        record["energy_eV"] = float(results["energy"])
    if "forces" in results:
        forces: Floats = atoms.get_forces()
        record["fmax_eV_per_A"] = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if "novelty" in atoms.info:
        record["novelty"] = float(atoms.info["novelty"])
    return record


def _differ(frames: Sequence[Atoms]) -> bool:
    """Tell structures from a trajectory, whose frames have the same atoms and no names."""
    kinds = {(atoms.numbers.tobytes(), atoms.pbc.tobytes()) for atoms in frames}
    named = any("input" in atoms.info or "name" in atoms.info for atoms in frames)
    return len(kinds) > 1 or (named and len(frames) > 1)


def _spread(n: int, at_most: int) -> list[int]:
    """Choose frames, the first and the last among them, all but the last at equal intervals."""
    if at_most < 2:
        raise OptionError(f"{at_most} frames cannot be shown; at least 2 are needed")
    if n <= at_most:
        return list(range(n))
    return [*range(0, n - 1, math.ceil((n - 1) / (at_most - 1))), n - 1]
