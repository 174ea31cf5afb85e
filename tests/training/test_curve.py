import warnings
from pathlib import Path

import pytest

from tdncalc.training.curve import write_curve

_COLUMNS = ("energy_meV_per_atom", "forces_meV_per_A")


@pytest.mark.parametrize("error", [0.0, 3.0])
def test_log_and_curve_are_of_every_row(tmp_path: Path, error: float) -> None:
    errors = {f"{part}_{column}": error for part in ("train", "valid") for column in _COLUMNS}
    rows = [{"step": step, "seconds": 1234567.8, **errors} for step in (1_234_500, 1_235_000)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # forces of atoms that are alone are exact
        write_curve(tmp_path, rows)
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "1234500", "1235000"]
    assert (tmp_path / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
