"""The page: runs as data, and the template, style and scripts that show them."""

import json
import string
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import tdncalc
from tdncalc.report import comparison, facts, listing, plots, scene
from tdncalc.report.packing import Packer, deflated
from tdncalc.report.run import Run

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
    data = {
        "version": tdncalc.__version__,
        "created": created,
        "elements": scene.elements(runs),
        "runs": [_run(run, packer) for run in runs],
        "comparison": comparison.compare(runs, packer),
        "viewer": vendored("3Dmol"),
    }
    template = string.Template(_text("page.html"))
    return template.substitute(
        title=escape(" and ".join(run.name for run in runs[:2])),
        style=_text("style.css"),
        data=packer.pack(data),
        viewer=deflated((_ASSETS / "vendor" / "3Dmol-min.js").read_bytes()),
        scripts=_scripts(),
    )


def vendored(name: str) -> dict[str, str]:
    """Tell version, source, checksum and licence of a library that the page contains."""
    folder = _ASSETS / "vendor"
    described: dict[str, str] = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    licence = (folder / f"{name}.LICENSE").read_text(encoding="utf-8")
    return described | {"text": licence}


def _run(run: Run, packer: Packer) -> dict[str, Any]:
    many = run.kind == "many"
    return {
        "kind": run.kind,
        "name": run.name,
        "title": facts.title(run),
        "notes": run.notes,
        "outcome": facts.outcome(run),
        "command": run.summary.get("command_line"),
        "groups": facts.groups(run),
        "model": facts.model(run),
        "series": None if many else plots.series(run),
        "plots": plots.structural(run),
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
