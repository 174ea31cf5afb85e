import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tdncalc.checkpoint import load_network
from tdncalc.training.config import load_config
from tdncalc.training.loop import train


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
