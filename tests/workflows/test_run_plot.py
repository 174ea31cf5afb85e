"""Pictures of runs: what is drawn, and what cannot be."""

import numpy as np
import pytest
from matplotlib.image import imread

from tdncalc.errors import OutputError
from tdncalc.workflows import run_plot
from tdncalc.workflows.relax import RelaxSettings, relax

TABLE = (
    "step,time_fs,temperature_K,potential_eV,kinetic_eV,total_eV,pressure_GPa,volume_A3,max_force\n"
    "0,0,300,-1,0.1,-0.9,{0},{1},0.5\n10,5,310,-1.1,0.2,-0.9,{0},{2},0.6\n"
)


@pytest.fixture
def drawn(monkeypatch):
    """Collect labels and curves of the panels."""
    seen = {}
    draw = run_plot._draw

    def spy(picture, title, label, x, panels):
        seen.update({panel.label: panel.curves for panel in panels}, x=label)
        draw(picture, title, label, x, panels)

    monkeypatch.setattr(run_plot, "_draw", spy)
    return seen


def is_a_picture(path):
    pixels = imread(path)
    return pixels.shape[0] > 300 and pixels.std() > 0.01


def relaxed(morse, copper, folder, **settings):
    path = folder / "x.traj"
    result = relax(copper, calculator=morse(), settings=RelaxSettings(**settings), trajectory=path)
    run_plot.plot_relaxation(path, folder / "x.png", title="copper", fmax=0.05)
    return result


def test_relaxation_is_drawn_step_by_step(morse, copper, tmp_path, drawn):
    result = relaxed(morse, copper, tmp_path)
    assert is_a_picture(tmp_path / "x.png")
    assert set(drawn) == {"energy − last (eV)", "largest force (eV/Å)", "x"}
    force = drawn["largest force (eV/Å)"][""]
    assert len(force) == result.steps + 1
    assert force[-1] == pytest.approx(result.fmax)


def test_moving_cell_under_pressure_shows_what_is_minimized(morse, copper, tmp_path, drawn):
    relaxed(morse, copper, tmp_path, cell="full", pressure_GPa=5.0)
    enthalpy = drawn["enthalpy − last (eV)"][""]
    assert enthalpy[0] > enthalpy[-1] == 0
    assert drawn["pressure (GPa)"][""][-1] == pytest.approx(5.0, abs=0.1)
    assert "volume (Å³)" in drawn


@pytest.mark.parametrize(
    ("values", "more"),
    [
        (("", "", ""), set()),
        ((1.5, 100, 100), {"pressure (GPa)"}),
        ((1.5, 100, 101), {"pressure (GPa)", "volume (Å³)"}),
    ],
)
def test_dynamics_show_what_the_structure_has(values, more, tmp_path, drawn):
    (tmp_path / "x.csv").write_text(TABLE.format(*values))
    run_plot.plot_md(tmp_path / "x.csv", tmp_path / "x.png", title="x")
    assert is_a_picture(tmp_path / "x.png")
    usual = {"energy − start (eV)", "temperature (K)", "largest force (eV/Å)", "x"}
    assert set(drawn) == usual | more
    np.testing.assert_allclose(drawn["energy − start (eV)"]["total"], [0.1, 0.1])
    assert drawn["x"] == "time (ps)"


def test_empty_table_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text(TABLE.splitlines()[0] + "\n")
    with pytest.raises(OutputError, match="holds no rows"):
        run_plot.plot_md(tmp_path / "x.csv", tmp_path / "x.png", title="x")
    assert not (tmp_path / "x.png").exists()


def test_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "x.csv").write_text(TABLE.format("", "", ""))
    with pytest.raises(OutputError, match=r"no/x\.png: cannot be written"):
        run_plot.plot_md(tmp_path / "x.csv", tmp_path / "no" / "x.png", title="x")
