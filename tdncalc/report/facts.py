"""What a run was, in words and figures: its outcome, settings, machine and model."""

from statistics import median
from typing import Any

import numpy as np

from tdncalc.cards import IN_RECORDS, read_card
from tdncalc.errors import DamagedModelError, ModelNotFoundError
from tdncalc.report.displacement import Displacement, in_cm2_per_s
from tdncalc.report.run import Run

Row = tuple[str, str]
_KINDS = {
    "md": "Molecular dynamics",
    "relax": "Relaxation",
    "many": "Structures",
    "frames": "Trajectory",
}


def title(run: Run) -> str:
    """Say what kind of run it is."""
    if run.kind == "many" and run.paths.kind == "many":
        return "Relaxed structures"
    if run.kind == "frames" and len(run.frames) == 1:
        return "Structure"
    return _KINDS[run.kind]


def outcome(run: Run, moved: Displacement | None) -> list[dict[str, str]]:
    """Give the few figures that a reader wants first, each with a label, value and unit."""
    tiles = {"md": _of_md, "relax": _of_relaxation, "many": _of_many, "frames": _of_frames}
    found = tiles[run.kind](run) + _self_diffusion(moved)
    rows = [(label, _figure(value), unit) for label, value, unit in found]
    return [{"label": label, "value": value, "unit": u} for label, value, u in rows if value]


def _of_md(run: Run) -> list[tuple[str, Any, str]]:
    s, columns = run.summary, run.columns
    times = columns.get("time_fs", np.empty(0))
    time = s.get("time_fs", times[-1] if len(times) else None)
    return [
        ("Outcome", s.get("reason"), ""),
        ("Simulated", None if time is None else f"{float(time) / 1000:g}", "ps"),
        ("Mean temperature", _fixed(mean_temperature(run), 0), "K"),
        ("Mean pressure", _fixed(_mean(run, "pressure_GPa"), 3), "GPa"),
        ("Mean density", _fixed(_mean(run, "density_g_per_cm3"), 3), "g/cm³"),
        ("Drift", _signed(s.get("drift_meV_per_atom_per_ps")), "meV/atom/ps"),
        ("Speed", _fixed(s.get("ns_per_day"), 2), "ns/day"),
    ]


def _self_diffusion(moved: Displacement | None) -> list[tuple[str, Any, str]]:
    if moved is None or not moved.diffusion:
        return []
    found = [f"{one.symbol} {in_cm2_per_s(one.coefficient, 2)}" for one in moved.diffusion]
    return [("Self-diffusion", ", ".join(found), "× 10⁻⁵ cm²/s")]


def mean_temperature(run: Run) -> float | None:
    """Return it in K: of all steps if the summary has it, else of the rows."""
    of_steps: float | None = run.summary.get("mean_temperature_K")
    return _mean(run, "temperature_K") if of_steps is None else of_steps


def _of_relaxation(run: Run) -> list[tuple[str, Any, str]]:
    s, energies = run.summary, run.columns.get("potential_eV", np.array([]))
    final = s.get("energy_eV", energies[-1] if len(energies) else None)
    return [
        ("Outcome", s.get("reason"), ""),
        ("Final energy", _fixed(final, 4), "eV"),
        ("Energy gained", _fixed(energies[0] - energies[-1], 4) if len(energies) else None, "eV"),
        ("Largest force", _fixed(s.get("fmax_eV_per_A", _last(run, "max_force")), 4), "eV/Å"),
        ("Steps", s.get("steps", len(run.columns.get("step", [0])) - 1), ""),
    ]


def _of_many(run: Run) -> list[tuple[str, Any, str]]:
    done = [record["converged"] for record in run.records if "converged" in record]
    steps = [record["steps"] for record in run.records if "steps" in record]
    return [
        ("Structures", f"{len(run.records):,}", ""),
        ("Converged", f"{sum(done):,} of {len(done):,}" if done else None, ""),
        ("Atoms", f"{sum(record.get('n_atoms', 0) for record in run.records):,}", ""),
        ("Median steps", f"{median(steps):g}" if steps else None, ""),
    ]


def _of_frames(run: Run) -> list[tuple[str, Any, str]]:
    return [
        ("Frames", len(run.frames) if len(run.frames) > 1 else None, ""),
        ("Atoms", len(run.frames[0]) if run.frames else None, ""),
        ("Last energy", _fixed(_last(run, "potential_eV"), 4), "eV"),
        ("Largest force", _fixed(_last(run, "max_force"), 4), "eV/Å"),
    ]


def groups(run: Run) -> list[dict[str, Any]]:
    """Give the summary in named groups of rows."""
    s = run.summary
    machine = {key: s.get(key) for key in ("device", "dtype", "threads", "evaluation")}
    found = {
        "Run": _run_rows(run),
        "Settings": _rows(s.get("settings", {})),
        "Machine": _rows(machine | s.get("versions", {})),
    }
    return [{"title": name, "rows": rows} for name, rows in found.items() if rows]


def _run_rows(run: Run) -> list[Row]:
    s = run.summary
    final = run.final
    rows: dict[str, Any] = {
        "input": s.get("input"),
        "formula": final.get_chemical_formula() if final is not None else None,
        "atoms": len(final) if final is not None else None,
        "files": ", ".join(str(p) for p in (run.paths.frames, run.paths.table) if p is not None),
        "started": s.get("started"),
        "wall time": f"{s['seconds']:.3g} s" if s.get("seconds") else None,
    }
    return _rows(rows)


def _rows(values: dict[str, Any], before: str = "") -> list[Row]:
    rows: list[Row] = []
    for key, value in values.items():
        if isinstance(value, dict):
            rows += _rows(value, f"{before}{_words(key)}: ")
        elif value not in (None, "", [], ()):
            rows.append((before + _words(key), _text(value)))
    return rows


def model(run: Run) -> dict[str, Any] | None:
    """Give the model's name and, if its weights are those of an installed model, its card."""
    named = run.summary.get("model") or {}
    if not named and run.records:
        record = run.records[0]
        named = {name: record.get(key) for name, key in IN_RECORDS.items()}
    name, sha256 = named.get("name"), named.get("sha256")
    if not name:
        return None
    try:
        card = read_card(str(name))
    except (ModelNotFoundError, DamagedModelError):
        card = None
    if card is None or card["sha256"] != sha256:
        note = "The card of these weights is not installed here."
        rows = _rows({"sha256": str(sha256), "dispersion added": named.get("dispersion")})
        return {"name": str(name), "rows": rows, "note": note}
    rows = _card_rows(card) + _rows({"dispersion added": named.get("dispersion")})
    return {"name": str(name), "rows": rows, "note": card.get("description", "")}


def _card_rows(card: dict[str, Any]) -> list[Row]:
    test = card.get("errors", {}).get("test", {})
    energy, forces = (test.get(f"{key}_MAE_{unit}") for key, unit in _ERRORS)
    n = test.get("structures")
    return _rows(
        {
            "level of theory": card.get("theory"),
            "elements": " ".join(card["elements"]),
            "energy error (MAE)": f"{energy:.2g} meV/atom" if energy else None,
            "force error (MAE)": f"{forces:.2g} meV/Å" if forces else None,
            "measured on": f"{n:,} structures not trained on" if n else None,
            "cutoff": f"{card['cutoff_A']} Å" if "cutoff_A" in card else None,
            "licence": card.get("licence"),
            "sha256": card["sha256"],
        }
    )


# Of two that fit the longer one comes first.
_ENDINGS = {
    "_per_GPa": "1/GPa",
    "_per_fs": "1/fs",
    "_GPa": "GPa",
    "_fs": "fs",
    "_K": "K",
}
_ERRORS = (("energy", "meV_per_atom"), ("forces", "meV_per_A"))


def _words(key: str) -> str:
    for ending, unit in _ENDINGS.items():
        if key.endswith(ending):
            return f"{key.removesuffix(ending).replace('_', ' ')} ({unit})"
    return key.replace("_", " ")


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _mean(run: Run, name: str) -> float | None:
    return float(np.nanmean(run.columns[name])) if name in run.columns else None


def _last(run: Run, name: str) -> float | None:
    return float(run.columns[name][-1]) if name in run.columns else None


def _fixed(value: float | None, digits: int) -> str | None:
    return None if value is None else f"{value:.{digits}f}".replace("-", "−")


def _signed(value: float | None) -> str | None:
    return None if value is None else f"{value:+.3g}".replace("-", "−")


def _figure(value: Any) -> str:  # noqa: ANN401 - numbers and text
    return "" if value is None else str(value)
