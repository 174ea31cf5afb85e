"""The Triton kernels are compiled to machine code of GPUs, without one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

FOLDER = Path(__file__).parent


def run(tmp_path, *command):
    clean = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, *command],
        env=clean | {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(FOLDER.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "architecture",
    ["90", pytest.param("80", marks=pytest.mark.slow)],
)
def test_kernels_of_the_default_size_stay_in_registers(architecture, tmp_path):
    found = run(tmp_path, str(FOLDER / "compiled_kernels.py"), architecture, "2", "48")
    assert len(found) == 10
    for kernel in found:
        assert kernel["STACK"] == kernel["LOCAL"] == 0, kernel
        assert 16 < kernel["REG"] <= 168, kernel  # at least 12 warps on a multiprocessor


def test_kernels_are_launched_with_fused_multiply_adds_and_without_a_warning(tmp_path):
    found = run(tmp_path, "-W", "error::UserWarning", str(FOLDER / "launched_kernels.py"))
    assert len(found) == 5
    for kernel in found:
        assert kernel["grid"] == [3, 1, 1]
        assert kernel["fused"]
