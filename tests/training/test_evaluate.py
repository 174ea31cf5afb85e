from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from matplotlib.figure import Figure

from tdncalc.checkpoint import load_model, save_model
from tdncalc.errors import DataError, OptionError, OutputError, StructureError
from tdncalc.potential import Potential
from tdncalc.tdn import TDN
from tdncalc.training import evaluate as module
from tdncalc.training.data import Frames, load_frames
from tdncalc.training.error_plot import draw_errors
from tdncalc.training.evaluate import at_level_of_model, evaluate, evaluate_frames


@pytest.fixture
def potential(network: TDN, tmp_path: Path) -> Potential:
    save_model(tmp_path / "m", network, {"name": "m"})
    return load_model(tmp_path / "m", dtype="float64")


@pytest.fixture
def frames(potential: Potential, data_folder: Path) -> Frames:
    """Structures labeled by the potential itself."""
    frames = load_frames(["all.extxyz"], data_folder)
    results = potential.evaluate([frames.atoms(i) for i in range(len(frames))])
    voigt = [[0, 5, 4], [5, 1, 3], [4, 3, 2]]
    stress = [
        np.array(r["stress"])[voigt] if p.all() else np.full((3, 3), np.nan)
        for r, p in zip(results, frames.pbc, strict=True)
    ]
    return replace(
        frames,
        energy=np.array([r["energy"] for r in results]),
        forces=np.concatenate([r["forces"] for r in results]),
        stress=np.array(stress),
    )


def test_a_model_has_no_error_on_its_own_labels(potential: Potential, frames: Frames) -> None:
    report = evaluate_frames(potential, frames)
    assert report["energy_MAE_meV_per_atom"] < 1e-9
    assert report["forces_RMSE_meV_per_A"] < 1e-9
    assert report["stress_MAE_meV_per_A3"] < 1e-9
    assert report["forces_cosine"] == pytest.approx(1)


def test_forces_of_zero_have_no_cosine(potential: Potential, frames: Frames) -> None:
    at_rest = replace(frames, forces=np.zeros_like(frames.forces))
    assert "forces_cosine" not in evaluate_frames(potential, at_rest)


def test_known_errors_are_reported_in_their_units(potential: Potential, frames: Frames) -> None:
    wrong = replace(
        frames, energy=frames.energy + 0.002 * frames.n_atoms(), forces=frames.forces + 0.05
    )
    report = evaluate_frames(potential, wrong)
    assert report["energy_MAE_meV_per_atom"] == pytest.approx(2)
    assert report["energy_RMSE_meV_per_atom"] == pytest.approx(2)
    assert report["forces_MAE_meV_per_A"] == pytest.approx(50)


def test_an_element_that_the_model_lacks_is_named_with_its_structure(
    potential: Potential, frames: Frames
) -> None:
    many = frames.take([*range(24)] * 4)
    many.numbers[many.starts[80] + 1] = 47
    with pytest.raises(StructureError, match=r"^structure 80 of those .*: element Ag \(atom 1\)"):
        evaluate_frames(potential, many)


def test_a_stress_that_a_model_cannot_have_is_passed_over(
    potential: Potential, frames: Frames
) -> None:
    some = replace(frames, stress=np.zeros_like(frames.stress))  # of the clusters too
    alone = frames.take(np.flatnonzero(frames.pbc.all(axis=1)))
    found, wanted = evaluate_frames(potential, some), evaluate_frames(potential, alone)
    assert found["structures"] > wanted["structures"]
    assert np.isfinite(found["stress_MAE_meV_per_A3"])
    assert found["forces_MAE_meV_per_A"] < 1e-9


def test_errors_are_kept_apart_by_kind_and_element(potential: Potential, frames: Frames) -> None:
    crystals = frames.kind == "crystal"
    gold = (frames.numbers == 79)[:, None]
    wrong = replace(
        frames,
        energy=frames.energy + crystals * 0.001 * frames.n_atoms(),
        forces=frames.forces + 0.03 * gold,
    )
    report = evaluate_frames(potential, wrong)
    assert report["by_kind"]["crystal"]["energy_MAE_meV_per_atom"] == pytest.approx(1)
    assert report["by_kind"]["cluster"]["energy_MAE_meV_per_atom"] < 1e-9
    assert report["by_element"]["Au"]["forces_MAE_meV_per_A"] == pytest.approx(30)
    assert report["by_element"]["Cu"]["forces_MAE_meV_per_A"] < 1e-9


def test_a_limit_takes_evenly_spaced_structures(potential: Potential, data_folder: Path) -> None:
    report = evaluate(potential, ["all.extxyz"], root=data_folder, limit=7)
    assert report["structures"] == 7
    with pytest.raises(OptionError, match="limit 0 is not allowed"):
        evaluate(potential, ["all.extxyz"], root=data_folder, limit=0)


def test_labels_of_another_level_are_brought_to_the_model(
    potential: Potential, frames: Frames, data_folder: Path
) -> None:
    plain = evaluate(potential, ["all.extxyz"], root=data_folder)
    potential.card["levels"] = {"hf": {"Cu": 3.0, "Au": -5.0}}
    raised = replace(frames, energy=frames.energy + frames.counts([29, 79]) @ [3.0, -5.0])
    report = evaluate_frames(potential, at_level_of_model(potential, raised, "hf"))
    assert report["energy_MAE_meV_per_atom"] < 1e-9
    other = evaluate(potential, ["all.extxyz"], root=data_folder, level="hf")
    assert other["energy_MAE_meV_per_atom"] != plain["energy_MAE_meV_per_atom"]
    with pytest.raises(OptionError, match="has no level 'mp2'; it has: hf"):
        evaluate(potential, ["all.extxyz"], root=data_folder, level="mp2")


def test_energies_far_off_name_the_level_that_they_have(
    potential: Potential, frames: Frames, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    potential.card["levels"] = {"hf": {"Cu": 3.0, "Au": -5.0}, "xtb": {"Cu": 3.5, "Au": -5.0}}
    evaluate_frames(potential, frames)
    assert caplog.text == ""
    raised = replace(frames, energy=frames.energy + frames.counts([29, 79]) @ [3.0, -5.0])
    evaluate_frames(potential, raised)
    assert "by 0.0 at the level of the training set 'hf'" in caplog.records[-1].message
    assert caplog.records[-1].message.endswith("give --level hf")
    evaluate_frames(potential, at_level_of_model(potential, raised, "hf"))
    assert len(caplog.records) == 1
    own = [frames.atoms(index) for index in range(len(frames))]
    for atoms, energy in zip(own, frames.energy, strict=True):
        labels = {"energy": energy, "forces": np.zeros((len(atoms), 3))}
        atoms.calc = SinglePointCalculator(atoms, **labels)
    write(tmp_path / "own.extxyz", own)
    evaluate(potential, [tmp_path / "own.extxyz"], level="hf")
    assert "at the model's own level" in caplog.records[-1].message
    assert caplog.records[-1].message.endswith("leave --level out")


def test_energies_of_another_theory_are_told_of(
    potential: Potential, frames: Frames, caplog: pytest.LogCaptureFixture
) -> None:
    raised = replace(frames, energy=frames.energy + frames.counts([29, 79]) @ [3.0, -5.0])
    evaluate_frames(potential, raised)
    assert "by 0.0 after a fit of an energy per element" in caplog.text
    assert "give --fit-references" in caplog.text
    caplog.clear()
    evaluate_frames(potential, raised, fit_references=True)
    evaluate_frames(potential, raised.take([0, 1, 2]))  # too few to tell
    noise = np.random.default_rng(0).normal(0, 3, len(frames))
    evaluate_frames(potential, replace(frames, energy=frames.energy + noise))
    assert caplog.text == ""


def test_reference_energies_of_another_theory_are_fitted(
    potential: Potential, frames: Frames
) -> None:
    shift = {"Cu": 3.0, "Au": -5.0}
    raised = replace(frames, energy=frames.energy - frames.counts([29, 79]) @ [3.0, -5.0])
    assert evaluate_frames(potential, raised)["energy_MAE_meV_per_atom"] > 1000
    report = evaluate_frames(potential, raised, fit_references=True)
    assert report["energy_MAE_meV_per_atom"] < 1e-6
    assert report["fitted_references"] == pytest.approx(shift)
    with pytest.raises(DataError, match=r"too few structures \(2\) to fit"):
        evaluate_frames(potential, raised.take([0, 1]), fit_references=True)


def test_errors_are_kept_apart_by_size(
    potential: Potential, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SIZES", (4,))
    large = np.repeat(frames.n_atoms() > 3, frames.n_atoms())
    wrong = replace(frames, forces=frames.forces + 0.03 * large[:, None])
    small, rest = evaluate_frames(potential, wrong)["by_size"].values()
    assert small["forces_RMSE_meV_per_A"] < 1e-6
    assert rest["forces_RMSE_meV_per_A"] == pytest.approx(30)
    assert small["structures"] + rest["structures"] == len(frames)


def test_a_models_own_results_are_no_reference(
    potential: Potential, tmp_path: Path, data_folder: Path
) -> None:
    frames = load_frames(["all.extxyz"], data_folder)
    own = [frames.atoms(i) for i in range(4)]
    for atoms, result in zip(own, potential.evaluate(own), strict=True):
        labels = {"energy": result["energy"], "forces": result["forces"]}
        atoms.calc = SinglePointCalculator(atoms, **labels)
    write(tmp_path / "own.extxyz", own)
    with pytest.raises(DataError, match="are those of model 'm' itself"):
        evaluate(potential, ["own.extxyz"], root=tmp_path)


def test_errors_are_drawn(potential: Potential, data_folder: Path, tmp_path: Path) -> None:
    evaluate(potential, ["all.extxyz"], root=data_folder, plot=tmp_path / "p.png")
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(OutputError, match="cannot be written"):
        evaluate(potential, ["all.extxyz"], root=data_folder, plot=tmp_path / "no" / "p.png")


@pytest.mark.parametrize("size", [1e-5, 0.013, 2.3, 87.0, 940.0])
def test_labels_of_large_errors_do_not_touch(
    size: float, frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    random = np.random.default_rng(0)
    energy = size * random.normal(size=len(frames)) * frames.n_atoms()
    draw_errors(tmp_path / "p.png", frames, energy, size * random.normal(size=frames.forces.shape))
    drawn[0].canvas.draw()
    for axes in drawn[0].axes:
        low, high = axes.get_xlim()
        ticks = axes.xaxis.get_major_ticks()
        shown = [t.label1.get_window_extent() for t in ticks if low <= t.get_loc() <= high]
        assert len(shown) > 1
        assert all(a.x1 < b.x0 for a, b in pairwise(shown))
