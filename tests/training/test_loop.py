import csv
import errno
import hashlib
import json
import math
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.io import read, write

from tdncalc.checkpoint import load_model, read_card
from tdncalc.errors import CheckpointError, ConfigError, DataError, OutputError
from tdncalc.training.config import TrainConfig, load_config
from tdncalc.training.evaluate import evaluate
from tdncalc.training.loop import Progress, train
from tdncalc.training.validation import HeldOutErrors


def with_steps(config: TrainConfig, steps: int) -> TrainConfig:
    return replace(config, optimizer=replace(config.optimizer, steps=steps))


class StopAt:
    def __init__(self, step: int) -> None:
        self.step, self.seen = step, 0

    def __call__(self) -> bool:
        self.seen += 1
        return self.seen >= self.step


def test_a_run_learns_and_leaves_a_model_log_and_curve(config_file: Path, tmp_path: Path) -> None:
    config = with_steps(load_config(config_file), 300)
    seen: list[Progress] = []
    result = train(config, run_dir=tmp_path / "run", observer=seen.append)
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert result.reason == "done"
    assert [int(row["step"]) for row in rows] == list(range(20, 301, 20))
    first, last = rows[0], rows[-1]
    assert float(last["valid_forces_meV_per_A"]) < 0.5 * float(first["valid_forces_meV_per_A"])
    assert (tmp_path / "run" / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    assert read_card(result.model)["theory"] == "EMT"
    assert seen[-1].step == 300
    assert seen[-1].atoms_per_second > 0


def test_the_saved_model_has_the_errors_of_its_card(
    config_file: Path, tmp_path: Path, data_folder: Path
) -> None:
    config = load_config(config_file)
    result = train(config, run_dir=tmp_path / "run")
    report = evaluate(load_model(result.model), config.data.valid[""], root=data_folder)
    validation = read_card(result.model)["validation"]
    assert report["forces_MAE_meV_per_A"] == pytest.approx(
        validation["valid_forces_meV_per_A"], rel=1e-4
    )
    assert report["energy_MAE_meV_per_atom"] == pytest.approx(
        validation["valid_energy_meV_per_atom"], rel=1e-4
    )


@pytest.mark.parametrize("packed", [False, True])
def test_the_card_counts_each_structure_once(
    config_file: Path, tmp_path: Path, packed: bool
) -> None:
    config = with_steps(load_config(config_file), 20)
    once = replace(config, data=replace(config.data, packed=packed))
    whole = read_card(train(once, run_dir=tmp_path / "once").model)["training"]
    assert whole["structures"] == 21
    assert "structures_with_repeats" not in whole
    twice = replace(
        once.data, train={"": ("all.extxyz#split=train", "all.extxyz.xz#config_type=crystal")}
    )
    found = read_card(train(replace(once, data=twice), run_dir=tmp_path / "twice").model)
    assert found["training"]["structures"] == 21
    assert found["training"]["structures_with_repeats"] == 33


def test_the_model_kept_is_that_of_the_lowest_loss(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        HeldOutErrors(energy=1e-6, forces=9e-4, virial=0.0, loss=0.3),  # lucky energies
        HeldOutErrors(energy=4e-5, forces=5e-4, virial=0.0, loss=0.1),
        HeldOutErrors(energy=5e-5, forces=4e-4, virial=0.0, loss=0.2),
    ]
    monkeypatch.setattr("tdncalc.training.loop.held_out_errors", lambda *_, **__: found.pop(0))
    result = train(with_steps(load_config(config_file), 60), run_dir=tmp_path / "run")
    assert read_card(result.model)["validation"]["step"] == 40
    assert result.validation == read_card(result.model)["validation"]


def test_a_stopped_run_resumes_as_if_it_had_not_stopped(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    whole = train(config, run_dir=tmp_path / "whole")
    part = train(config, run_dir=tmp_path / "part", stop=StopAt(13))
    assert (part.step, part.reason) == (13, "stopped")
    resumed = train(config, run_dir=tmp_path / "part", resume=True)
    weights = [(r.model / "model.safetensors").read_bytes() for r in (whole, resumed)]
    assert weights[0] == weights[1]


@pytest.fixture
def own_data(tmp_path: Path, data_folder: Path) -> Path:
    return Path(shutil.copytree(data_folder, tmp_path / "own"))


def rewrite(folder: Path, change: Callable[[Atoms], None]) -> None:
    frames = read(folder / "all.extxyz", ":")
    for atoms in frames:
        change(atoms)
    write(folder / "all.extxyz", frames)


def at(config: TrainConfig, folder: Path) -> TrainConfig:
    return replace(config, data=replace(config.data, root=str(folder)))


def shifted(atoms: Atoms) -> None:
    results = atoms.calc.results
    results["energy"] += 0.9 * len(atoms)


def without_forces(atoms: Atoms) -> None:
    atoms.calc.results["forces"][0, 0] = np.nan


def test_a_run_does_not_go_on_with_other_labels(
    config_file: Path, tmp_path: Path, own_data: Path
) -> None:
    config, run = at(load_config(config_file), own_data), tmp_path / "run"
    train(config, run_dir=run, stop=StopAt(5))
    rewrite(own_data, shifted)
    with pytest.raises(CheckpointError, match="its data have changed since it was begun"):
        train(config, run_dir=run, resume=True)


def test_labels_that_are_no_numbers_are_named(
    config_file: Path, tmp_path: Path, own_data: Path
) -> None:
    rewrite(own_data, without_forces)
    with pytest.raises(DataError, match=r"all\.extxyz: structure 0 .* not a finite number"):
        train(at(load_config(config_file), own_data), run_dir=tmp_path / "run")


def test_the_best_model_is_sought_anew_on_another_validation_set(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = load_config(config_file), tmp_path / "run"
    losses = iter([0.1, 0.3])

    def found(*_: object, **__: object) -> HeldOutErrors:
        return HeldOutErrors(energy=1e-3, forces=1e-3, virial=0.0, loss=next(losses))

    monkeypatch.setattr("tdncalc.training.loop.held_out_errors", found)
    train(with_steps(config, 20), run_dir=run)
    fewer = replace(config, data=replace(config.data, valid_limit=2))
    result = train(with_steps(fewer, 40), run_dir=run, resume=True)
    assert read_card(result.model)["validation"]["step"] == 40


def test_a_loss_that_is_no_number_is_an_error(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = HeldOutErrors(energy=math.nan, forces=math.nan, virial=0.0, loss=math.nan)
    monkeypatch.setattr("tdncalc.training.loop.held_out_errors", lambda *_, **__: lost)
    with pytest.raises(DataError, match="so no model was kept; take a lower learning_rate"):
        train(with_steps(load_config(config_file), 20), run_dir=tmp_path / "run")


def test_a_refused_start_leaves_the_data_of_the_run_there(
    config_file: Path, tmp_path: Path
) -> None:
    config, run = load_config(config_file), tmp_path / "run"
    packed = replace(config, data=replace(config.data, packed=True))
    train(packed, run_dir=run, stop=StopAt(5))
    saved = {path: path.read_bytes() for path in (run / "data").iterdir()}
    smaller = {"": ("all.extxyz#kind=none",)}
    with pytest.raises(CheckpointError, match="holds a run"):
        train(replace(packed, data=replace(packed.data, train=smaller)), run_dir=run)
    assert {path: path.read_bytes() for path in (run / "data").iterdir()} == saved


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    config_file: Path, tmp_path: Path
) -> None:
    config = load_config(config_file)
    whole = train(config, run_dir=tmp_path / "whole")
    run = tmp_path / "run"
    train(config, run_dir=run, stop=StopAt(25))
    state = run / "state.pt"
    state.write_bytes(state.read_bytes()[:1000])
    resumed = train(config, run_dir=run, resume=True)
    weights = [(r.model / "model.safetensors").read_bytes() for r in (whole, resumed)]
    assert weights[0] == weights[1]


def test_a_folder_that_holds_a_run_is_not_overwritten(config_file: Path, tmp_path: Path) -> None:
    config = with_steps(load_config(config_file), 2)
    train(config, run_dir=tmp_path / "run")
    with pytest.raises(CheckpointError, match="holds a run; go on with it by --resume"):
        train(config, run_dir=tmp_path / "run")
    # a run that was killed between the two steps of a save has only the checkpoint before
    (tmp_path / "run" / "state.pt").replace(tmp_path / "run" / "state-previous.pt")
    with pytest.raises(CheckpointError, match="holds a run; go on with it by --resume"):
        train(config, run_dir=tmp_path / "run")


@pytest.mark.skipif(sys.platform == "win32", reason="there no training is kept out")
def test_one_training_at_a_time_writes_a_folder(config_file: Path, tmp_path: Path) -> None:
    config, refused = with_steps(load_config(config_file), 3), []

    def begin_another(_now: Progress) -> None:
        with pytest.raises(CheckpointError, match="another training is at work there"):
            train(config, run_dir=tmp_path / "run", resume=True)
        refused.append(True)

    train(config, run_dir=tmp_path / "run", observer=begin_another)
    assert len(refused) == 3
    train(with_steps(config, 4), run_dir=tmp_path / "run", resume=True)  # when it has ended


def test_a_run_of_another_configuration_is_not_resumed(config_file: Path, tmp_path: Path) -> None:
    config = with_steps(load_config(config_file), 2)
    train(config, run_dir=tmp_path / "run")
    other = replace(config, optimizer=replace(config.optimizer, learning_rate=0.5))
    told = rf"\(optimizer: learning_rate was {config.optimizer.learning_rate} and is 0.5"
    with pytest.raises(CheckpointError, match=f"another configuration {told}"):
        train(other, run_dir=tmp_path / "run", resume=True)
    twice = {name: files * 2 for name, files in config.data.train.items()}
    other = replace(other, data=replace(config.data, train=twice))
    with pytest.raises(CheckpointError, match=r"data: train: .* another, optimizer: learning_rate"):
        train(other, run_dir=tmp_path / "run", resume=True)


def test_a_checkpoint_that_has_but_a_digest_of_its_settings_is_resumed(
    config_file: Path, tmp_path: Path
) -> None:
    config = with_steps(load_config(config_file), 2)
    train(config, run_dir=tmp_path / "run")
    for path in (tmp_path / "run").glob("state*.pt"):
        content = torch.load(path, weights_only=True)
        kept = content.pop("settings")
        digested = [kept["model"], [*kept["data"].values()], kept["optimizer"], kept["processes"]]
        text = json.dumps(digested, sort_keys=True)
        content["fingerprint"] = hashlib.sha256(text.encode()).hexdigest()
        torch.save(content, path)
    other = replace(config, optimizer=replace(config.optimizer, seed=5))
    with pytest.raises(CheckpointError, match=r"another configuration .*older"):
        train(other, run_dir=tmp_path / "run", resume=True)
    train(with_steps(config, 3), run_dir=tmp_path / "run", resume=True)
    assert read_card(tmp_path / "run" / "model")["training"]["steps"] == 3


def test_nothing_readable_to_resume_from_is_an_error(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "state.pt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="damaged"):
        train(load_config(config_file), run_dir=tmp_path / "run", resume=True)


def test_an_element_outside_the_model_is_named(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    config = replace(config, model={**config.model, "elements": ["Cu"]})
    with pytest.raises(
        ConfigError, match=r"the data hold Au, .* add it to elements under model, or"
    ):
        train(config, run_dir=tmp_path / "run")


def test_a_cutoff_within_which_nothing_lies_is_refused(config_file: Path, tmp_path: Path) -> None:
    config = load_config(config_file)
    config = replace(config, model={**config.model, "cutoff": 0.5})
    with pytest.raises(ConfigError, match=r"cutoff is 0\.5 Å, and no two atoms .*; 4\.5 to 6 Å"):
        train(config, run_dir=tmp_path / "run")


def without_cell(atoms: Atoms) -> None:
    atoms.calc.results["stress"] = np.ones(6)
    atoms.cell[:], atoms.pbc = 0.0, False
    atoms.calc.atoms = atoms


@pytest.mark.parametrize(
    "change", [lambda atoms: atoms.calc.results.pop("stress", None), without_cell]
)
def test_a_stress_to_learn_must_be_there(
    config_file: Path, tmp_path: Path, own_data: Path, change: Callable[[Atoms], None]
) -> None:
    rewrite(own_data, change)
    config = at(load_config(config_file), own_data)
    config = replace(config, optimizer=replace(config.optimizer, stress_weight=1.0))
    with pytest.raises(ConfigError, match="stress_weight is set, but no structure has a stress"):
        train(config, run_dir=tmp_path / "run")


def test_missing_data_say_where_they_were_looked_for(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDNCALC_DATA", str(tmp_path / "elsewhere"))
    with pytest.raises(DataError, match=r"elsewhere/all\.extxyz: no such data file"):
        train(load_config(config_file), run_dir=tmp_path / "run")


def test_a_full_disk_leaves_the_last_checkpoint(
    config_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, run = load_config(config_file), tmp_path / "run"
    train(config, run_dir=run, stop=StopAt(5))
    saved = (run / "state.pt").read_bytes()

    def full(content: object, file: BinaryIO) -> None:
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OutputError, match=r"No space left on device.*; its checkpoint is"):
            train(config, run_dir=run, resume=True, stop=StopAt(5))
    assert (run / "state.pt").read_bytes() == saved
    assert train(config, run_dir=run, resume=True, stop=StopAt(1)).step == 6


def test_a_folder_that_cannot_be_made_is_named(config_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"file/run: cannot be written .*; name another folder"):
        train(load_config(config_file), run_dir=tmp_path / "file" / "run")


def test_training_takes_no_more_threads_than_there_are_processors(
    config_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    config = load_config(config_file)
    config = replace(config, optimizer=replace(config.optimizer, threads=1000, validate_every=1))
    model = train(config, run_dir=tmp_path / "run", stop=StopAt(1)).model
    assert "1000 are asked for, of 2 processors" in caplog.text
    assert ", 2 thread," in read_card(model)["training"]["machine"]


def test_training_leaves_the_number_of_threads(config_file: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    config = load_config(config_file)
    config = replace(config, optimizer=replace(config.optimizer, threads=before + 1))
    train(config, run_dir=tmp_path / "run", stop=StopAt(1))
    assert torch.get_num_threads() == before
