"""The page: runs as data, and the template, style and scripts that show them."""

import itertools
import json
import string
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import tdncalc
from tdncalc.errors import StructureError
from tdncalc.report import comparison, facts, listing, plots, scene
from tdncalc.report.displacement import displacement
from tdncalc.report.packing import Packer, deflated
from tdncalc.report.run import Run
from tdncalc.structures.checks import check_finite

_ASSETS = files("tdncalc.report") / "assets"


def build_page(runs: Sequence[Run], *, created: str) -> str:
    """Return the HTML text of a report that opens without a network.

    Parameters
    ----------
    runs
        At least one.
    created
        The date, for the footer.
    """
    packer = Packer()
    names = short_names(runs)
    data = {
        "version": tdncalc.__version__,
        "created": created,
        "elements": scene.elements(runs),
        "runs": [_named(run, name, packer) for run, name in zip(runs, names, strict=True)],
        "comparison": comparison.compare(runs, packer),
        "viewer": vendored("3Dmol"),
    }
    template = string.Template(_text("page.html"))
    return template.substitute(
        title=escape(" and ".join(names[:2])),
        style=_text("style.css"),
        data=packer.pack(data),
        viewer=deflated((_ASSETS / "vendor" / "3Dmol-min.js").read_bytes()),
        scripts=_scripts(),
    )


def short_names(runs: Sequence[Run]) -> list[str]:
    """Name runs by as few of the last parts of their paths as tell them apart."""
    parts = [Path(run.name).absolute().parts for run in runs]
    # Many structures relaxed together are named by their folder: all tables have one name.
    parts = [p[:-1] if run.paths.kind == "many" else p for run, p in zip(runs, parts, strict=True)]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(names):
            return names
    return [run.name for run in runs]


def vendored(name: str) -> dict[str, str]:
    """Tell version, source, checksum and licence of a library that the page contains."""
    folder = _ASSETS / "vendor"
    described: dict[str, str] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    licence = (folder / f"{name}.LICENSE").read_text(encoding="utf-8")
    return described | {"text": licence}


def _named(run: Run, name: str, packer: Packer) -> dict[str, Any]:
    """Describe a run; of several it is told which cannot be shown."""
    for number, atoms in zip(run.rows or itertools.count(), run.frames, strict=False):
        check_finite(atoms, f"{run.paths.frames}@{number}")
    try:
        return _run(run, name, packer)
    except StructureError as error:
        raise StructureError(f"{run.paths.frames}: {error}") from error


def _run(run: Run, name: str, packer: Packer) -> dict[str, Any]:
    many = run.kind == "many"
    moved = displacement(run)
    return {
        "kind": run.kind,
        "name": name,
        "title": facts.title(run),
        "notes": run.warnings + run.notes,
        "outcome": facts.outcome(run, moved),
        "command": run.summary.get("command_line"),
        "groups": facts.groups(run),
        "model": facts.model(run),
        "series": None if many else plots.series(run),
        "plots": plots.structural(run, moved),
        "table": listing.listing(run) if many else None,
        "trajectory": None if many else scene.trajectory(run.frames, packer),
        "collection": scene.collection(run.frames, packer) if many else None,
    }


def _scripts() -> str:
    """Join the scripts in one scope; the one that starts the page comes last."""
    names = sorted(path.name for path in (_ASSETS / "js").iterdir())
    names.sort(key="main.js".__eq__)
    return "\n".join(_text(f"js/{name}") for name in names)


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")
