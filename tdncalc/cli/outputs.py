"""Where results go: names, the check that nothing is in the way, and JSON."""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tdncalc.cli.options import OutputOptions
from tdncalc.errors import OptionError, OutputError
from tdncalc.patterns import expand
from tdncalc.structures import require_different, require_new, require_writable
from tdncalc.structures.extxyz import writable
from tdncalc.structures.formats import is_structure_file, output_format
from tdncalc.structures.viewers import VIEWER_FORMATS, require_library

if TYPE_CHECKING:
    from ase import Atoms


def check_free(
    paths: Iterable[Path], output: OutputOptions, *, replace: bool | None = None
) -> None:
    """Refuse to start if a result could not be written; nothing is made yet.

    Parameters
    ----------
    paths
        Every file that the run will write.
    output
        The output folder may still be missing.
    replace
        The files are those of the run that goes on; None for commands that cannot go on.

    Raises
    ------
    OutputError
        A file exists already, or its folder is missing or cannot be written.
    """
    folder = output.output_dir
    missing = not folder.exists()
    if missing:
        _require_writable(next(parent for parent in folder.absolute().parents if parent.exists()))
    paths = list(paths)
    require_different(paths)
    waiting = [path for path in paths if not (missing and path.parent == folder)]
    require_new(waiting, overwrite=output.overwrite or bool(replace), resumable=replace is not None)


def refuse_inputs(paths: Iterable[Path], specs: Iterable[str]) -> None:
    """Refuse to replace what a command reads, even with --overwrite: a killed run would lose it.

    Parameters
    ----------
    paths
        Every file that the run will write.
    specs
        What the user typed as INPUT.
    """
    named, met = set[str](), set[str]()
    for spec in specs:
        found = expand(spec)
        (named if len(found) == 1 else met).update(found)
    folders = {Path(name).resolve() for name in named | met if Path(name).is_dir()}
    paths = list(paths)
    # What a pattern matched is there; of a million names it takes half a minute to see which.
    among = _files_of(met) if any(path.is_file() for path in paths) else set[Path]()
    read = _files_of(named)
    for path in paths:
        inside = path.resolve().parent in folders and is_structure_file(path)
        met_by_chance = path.is_file() and (inside or path.resolve() in among)
        if path.resolve() in read or (met_by_chance and not is_result(path)):
            raise OutputError(f"{path} is an INPUT; choose another name for the result")


def _files_of(names: set[str]) -> set[Path]:
    """Give the files, without what says which of their frames."""
    files = {name.rpartition(part)[0] for name in names for part in ("@", "#")}
    return {Path(name).resolve() for name in files | names}


def is_streamed(path: Path) -> bool:
    """Tell whether structures are appended to a file one by one: to extxyz they can be."""
    return path.suffix.lower() in (".extxyz", ".xyz")


def is_result(path: Path) -> bool:
    """Tell whether a file is empty, or begins with a structure that says what it was made of."""
    with path.open("rb") as file:
        head = file.read(10_000).splitlines()
    return not head or (len(head) > 1 and b" input=" in b" " + head[1])


def check_format(path: Path, atoms: "Atoms | None" = None) -> None:
    """Refuse to start if structures, or this one, cannot be written to a file of that name."""
    if output_format(path) in VIEWER_FORMATS.values():
        require_library()
    if atoms is not None:
        require_writable(path, atoms)


def require_ending(option: str, path: Path, *endings: str) -> None:
    """Refuse to start if the name of a file asks for another format than the only one there is."""
    if path.suffix.lower() not in endings:
        raise OptionError(f"{option} {path}: its name must end in {' or '.join(endings)}")


def make_folder(output: OutputOptions) -> None:
    """Make the output folder if it is not there; an OutputError if it cannot be made."""
    folder = output.output_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = error.strerror or error
        raise OutputError(f"{folder}: cannot be made ({why}); choose --output-dir") from error


def remove_old(path: Path, output: OutputOptions) -> None:
    """Remove what an earlier run left and this one, which replaces its results, does not make."""
    if not output.overwrite:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot be removed ({error.strerror or error})") from error


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write one JSON object, whole or not at all."""
    write_text(path, as_json(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(writable(text), encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error


def print_json(value: dict[str, Any]) -> None:
    """Print one JSON object on standard output."""
    click.echo(as_json(value, indent=2))


def as_json(value: dict[str, Any], *, indent: int | None = None) -> str:
    """Write an object as JSON, which has no NaN: what is not a finite number becomes null."""
    text = json.dumps(_finite(value), indent=indent, allow_nan=False, ensure_ascii=False)
    return writable(text)  # JSON reads the escapes as what was there


def _require_writable(folder: Path) -> None:
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        raise OutputError(f"{folder}: is not a folder that can be written; choose --output-dir")


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    match value:
        case dict():
            return {key: _finite(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_finite(inner) for inner in value]
        case float():
            return value if math.isfinite(value) else None
    return value
