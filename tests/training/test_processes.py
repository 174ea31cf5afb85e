import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml

from tdncalc.checkpoint import load_network
from tdncalc.errors import OptionError
from tdncalc.training.config import load_config
from tdncalc.training.loop import train
from tdncalc.training.processes import joined


def torchrun(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``tdn train`` in two processes that talk through gloo."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    endpoint = ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0"]
    return subprocess.run(
        [*launcher, *endpoint, "-m", "tdncalc", "train", *arguments, "--device", "cpu"],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def settings(path: Path, batch_size: int, steps: int) -> Path:
    content = yaml.safe_load(path.read_text())
    content["optimizer"] |= {"batch_size": batch_size, "steps": steps, "validate_every": 6}
    content["optimizer"] |= {"stress_weight": 2.0, "ema_decay": 0.0}
    content["data"]["packed"] = True
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_batches_twice_as_large(
    config_file: Path, tmp_path: Path
) -> None:
    part = torchrun(tmp_path, str(settings(config_file, 3, 6)), "--run-dir", "two")
    assert part.returncode == 0, part.stderr
    resumed = torchrun(tmp_path, str(settings(config_file, 3, 12)), "--run-dir", "two", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("done, 12 steps") == 1
    settings(config_file, 6, 6)
    train(load_config(config_file), run_dir=tmp_path / "one")
    settings(config_file, 6, 12)
    whole = train(load_config(config_file), run_dir=tmp_path / "one", resume=True)
    one = load_network(whole.model).state_dict()
    two = load_network(tmp_path / "two" / "model").state_dict()
    for name, value in one.items():
        assert torch.allclose(two[name], value, rtol=2e-3, atol=2e-4), name


@pytest.fixture
def one_of_two(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    """Be the second of two processes; how they would talk, and how long one waits in hours."""
    joining = []

    def join(backend, *, timeout):
        joining.append((backend, timeout.total_seconds() / 3600))

    for name in ("RANK", "LOCAL_RANK"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(dist, "init_process_group", join)
    monkeypatch.setattr(dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    return joining


def test_processes_wait_while_the_first_one_packs_data_for_hours(one_of_two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, backend in (("cuda:0", "nccl"), ("cpu", "gloo")):
        with joined(torch.device(device)) as processes:
            expected = torch.device("cuda:1" if backend == "nccl" else "cpu")
            assert processes.device == expected
        found, hours = one_of_two.pop()
        assert found == backend
        assert hours > 24


def test_more_processes_than_gpus_are_refused(one_of_two, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    refused = pytest.raises(OptionError, match="device 'cuda:1' is not on this machine")
    with refused, joined(torch.device("cuda:0")):
        pass
