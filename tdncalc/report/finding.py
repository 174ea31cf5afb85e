"""From what a user types to the files of runs."""

import re
from collections.abc import Iterator
from pathlib import Path

from tdncalc.errors import StructureError
from tdncalc.patterns import is_pattern
from tdncalc.report.run import Kind, RunPaths
from tdncalc.structures.formats import is_structure_file, stem

_SUFFIXES: dict[str, Kind] = {"-md": "md", "-relax": "relax"}
_REPLICA = re.compile(r"-\d+$")  # X-md-0 and so on, with one summary X-md.json
# A run of one structure has a file that ends like this, the first that is there being shown.
_OWN_FILES = (".traj", ".csv", ".json")
_STREAM = ("relaxed.extxyz", "relax.jsonl", "relax.json")


def find_runs(spec: str) -> list[RunPaths]:
    """Find the runs that a summary, trajectory, table, structure file, stem or folder means.

    Raises
    ------
    StructureError
        There is no run of that name.
    """
    path = Path(spec)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return _of_file(path)
    stems = [path.name] if _kind(path.name) else [path.name + suffix for suffix in _SUFFIXES]
    runs = [run for name in stems for run in _of_stem(path.parent, name)]
    if not runs:
        told = "matches no run" if is_pattern(spec) else "no run"
        raise StructureError(
            f"{spec}: {told}; give a folder, or a file that 'tdn md', 'tdn relax' or 'tdn energy "
            "-o' wrote"
        )
    return runs


def _of_folder(folder: Path) -> list[RunPaths]:
    """Find every run in a folder; without any, the structure files."""
    runs = list(_runs_in(folder))
    if not runs:
        files = sorted(filter(is_structure_file, folder.iterdir()))
        runs = [_of_structures(file) for file in files]
    if not runs:
        raise StructureError(f"{folder}: holds no run and no structure file; give another folder")
    return runs


def _runs_in(folder: Path) -> Iterator[RunPaths]:
    files = [path for path in folder.iterdir() if path.suffix in _OWN_FILES]
    for name in sorted({path.stem for path in files if _kind(path.stem)}):
        yield from _of_stem(folder, name)
    for table in sorted(folder.glob("*.jsonl")):
        yield _of_stream(table)


def _of_file(path: Path) -> list[RunPaths]:
    """Find the run that a file belongs to; any other file is structures."""
    if path.suffix == ".jsonl":
        return [_of_stream(path)]
    if path.name in _STREAM and (table := path.with_name(_STREAM[1])).is_file():
        return [_of_stream(table)]
    name = path.name.removesuffix(".previous")
    base, ending = Path(name).stem, Path(name).suffix
    if ending in (*_OWN_FILES, ".checkpoint") and _kind(base):
        runs = _of_stem(path.parent, base)
    else:
        runs = _of_stem(path.parent, base.removesuffix("ed")) if base.endswith("-relaxed") else []
    if not runs and ending in (".json", ".csv", ".checkpoint"):
        raise StructureError(
            f"{path}: not of a run that can be shown; give its folder, trajectory, or "
            "X-md.json or X-relax.json"
        )
    return runs or [_of_structures(path)]


def _of_stem(folder: Path, name: str) -> list[RunPaths]:
    """Put together what ``X-md`` or ``X-relax`` left; of replicas, what each left."""
    trajectory, table, summary = (
        path if (path := folder / f"{name}{ending}").is_file() else None for ending in _OWN_FILES
    )
    kind = _kind(name)
    if kind is None or not (trajectory or table or summary):
        return []
    common = folder / f"{_REPLICA.sub('', name)}.json"
    if summary is None and common.is_file():
        summary = common
    elif trajectory is None and table is None:
        replicas = sorted(p.stem for p in folder.glob("*.traj") if _REPLICA.sub("", p.stem) == name)
        if replicas:
            return [run for replica in replicas for run in _of_stem(folder, replica)]
    if trajectory is None and summary is not None:
        trajectory = _named_in(summary, "trajectory")
    return [RunPaths(kind, str(folder / name), trajectory, table, summary)]


def _named_in(summary: Path, kind: str, otherwise: Path | None = None) -> Path | None:
    """Give the file that a summary names, which the user may have put elsewhere."""
    from tdncalc.report.tables import read_summary

    files = read_summary(summary).get("files", {})
    named = files.get(kind) if isinstance(files, dict) else None
    if not isinstance(named, str):
        return otherwise
    places = (Path(named), summary.parent / named, summary.parent / Path(named).name)
    return next((place for place in places if place.is_file()), None)


def _of_stream(table: Path) -> RunPaths:
    summary = path if (path := table.with_suffix(".json")).is_file() else None
    beside = path if (path := table.with_name(_STREAM[0])).is_file() else None
    structures = beside if summary is None else _named_in(summary, "structures", beside)
    return RunPaths("many", str(table.parent / table.stem), structures, table, summary)


def _of_structures(path: Path) -> RunPaths:
    return RunPaths("frames", str(path.parent / stem(path)), path)


def _kind(name: str) -> Kind | None:
    name = _REPLICA.sub("", name)
    return next((kind for suffix, kind in _SUFFIXES.items() if name.endswith(suffix)), None)
