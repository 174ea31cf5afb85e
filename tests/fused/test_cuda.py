"""What only a machine with a GPU can tell; in a process that compiles and does not interpret."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["aspirin", "organic box", "all elements"])
def test_steps_on_a_gpu_are_as_exact_as_by_pytorch(name):
    own = {"TRITON_INTERPRET", "TDNCALC_EVALUATION"}
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-m", "tests.fused.steps_on_gpu", name],
        env={key: value for key, value in os.environ.items() if key not in own},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["recorded"]
    for plain, fused in found["errors"]:
        assert fused < 4 * plain + 4e-6 * max(1.0, found["largest"])
