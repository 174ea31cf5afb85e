import os
import platform
import stat
import subprocess
import time

import pytest
import torch

from tdncalc.calculator import TDNCalculator
from tdncalc.errors import OptionError
from tdncalc.native import build, choice
from tdncalc.native.orthogonal import compiled_iterations
from tdncalc.native.training import training_kernel
from tests.structures import structure


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TDNCALC_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("TDNCALC_EVALUATION")
    return tmp_path / "cache"


def compiler_that(folder, monkeypatch, does):
    """Make a command that stands for the compiler."""
    script = folder / "compiler"
    script.write_text(f"#!/bin/sh\n{does}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CXX", str(script))


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def compile_in_vain(potential, cache):
    potential.compute(potential.graph(structure("water")))
    wait_until(lambda: list(cache.glob("*.log")))
    wait_until(lambda: not list(cache.glob("*.building")))


def test_unknown_evaluation_names_the_known_ones():
    with pytest.raises(OptionError, match="'fast' is not known; allowed: auto, eager, compiled"):
        TDNCalculator(evaluation="fast")


def test_kernel_is_compiled_in_the_background_and_then_used(make_potential, empty_cache):
    potential = make_potential(torch.float32)
    graph = potential.graph(structure("aspirin"))
    first = potential.compute(graph)
    assert potential.choice.name() == "eager"
    assert potential.choice.reason == "the kernel is not compiled yet"
    wait_until(lambda: list(empty_cache.glob("*.so")))
    second = potential.compute(graph)
    assert potential.choice.name() == "compiled"
    assert potential.choice.reason is None
    torch.testing.assert_close(first.forces, second.forces, rtol=0, atol=1e-4)
    wait_until(lambda: len(list(empty_cache.iterdir())) == 1)  # nothing but the library is left


@pytest.mark.parametrize("wait", [True, False])
def test_settled_evaluation_stays(make_potential, empty_cache, wait):
    potential = make_potential(torch.float32)
    assert potential.choice.settle(wait=wait) is wait
    wait_until(lambda: list(empty_cache.glob("*.so")))
    potential.compute(potential.graph(structure("water")))
    assert potential.choice.name() == ("compiled" if wait else "eager")


def test_failing_compiler_leaves_pytorch_and_a_log(
    make_potential, empty_cache, tmp_path, monkeypatch
):
    compiler_that(tmp_path, monkeypatch, "echo no such instruction; exit 1")
    potential = make_potential(torch.float32)
    compile_in_vain(potential, empty_cache)
    potential.compute(potential.graph(structure("water")))
    (log,) = empty_cache.glob("*.log")
    assert log.read_text() == "no such instruction\n"
    assert potential.choice.reason == f"it did not compile here, see {log}"
    with pytest.raises(OptionError, match="evaluation 'compiled' is not possible: it did not"):
        make_potential(torch.float32, evaluation="compiled")


def test_another_compiler_is_tried_after_one_that_failed(
    make_potential, empty_cache, tmp_path, monkeypatch
):
    compiler_that(tmp_path, monkeypatch, "exit 1")
    compile_in_vain(make_potential(torch.float32), empty_cache)
    monkeypatch.delenv("CXX")
    assert make_potential(torch.float32).choice.settle()


def test_a_compiler_that_was_killed_is_tried_again(
    make_potential, empty_cache, tmp_path, monkeypatch
):
    called = tmp_path / "called"
    compiler_that(tmp_path, monkeypatch, f"touch {called}; echo 'Killed signal'; exit 1")
    potential = make_potential(torch.float32)
    potential.compute(potential.graph(structure("water")))
    wait_until(called.exists)
    wait_until(lambda: not list(empty_cache.glob("*.building")))
    assert not list(empty_cache.glob("*.log"))


def test_build_of_a_process_that_is_gone_is_taken_over(make_potential, empty_cache):
    potential = make_potential(torch.float32)
    empty_cache.mkdir()
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    mark = potential.choice._build.library.with_suffix(".building")
    mark.write_text(f"{gone.stdout.strip()} {platform.node()}\n")
    assert potential.choice.settle()


def test_a_build_that_took_over_runs_before_its_shell_does(
    make_potential, empty_cache, monkeypatch
):
    build = make_potential(torch.float32).choice._build
    empty_cache.mkdir()
    gone = subprocess.run(["sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    build.library.with_suffix(".building").write_text(f"{gone.stdout.strip()} {platform.node()}\n")
    assert not build._running()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: None)  # a shell that is late
    assert build.start() is None
    assert build._running()


def test_damaged_library_leaves_pytorch(make_potential, empty_cache, tmp_path, monkeypatch):
    compiler_that(tmp_path, monkeypatch, 'for last; do :; done; echo nonsense > "$last"')
    with pytest.raises(OptionError, match="cannot be loaded"):
        make_potential(torch.float32, evaluation="compiled")


def test_damaged_library_leaves_pytorch_to_train(make_network, empty_cache, tmp_path, monkeypatch):
    compiler_that(tmp_path, monkeypatch, 'for last; do :; done; echo nonsense > "$last"')
    assert compiled_iterations() is None
    assert training_kernel(make_network().float()) is None
    assert len(list(empty_cache.glob("*.damaged"))) == 2


def test_damaged_library_is_compiled_anew_once(make_potential, empty_cache):
    first, second, third = (make_potential(torch.float32).choice for _ in range(3))
    library = first._build.library
    empty_cache.mkdir()
    library.write_text("nonsense")
    assert not first.settle()
    library.write_text("nonsense")  # a folder whose libraries are never loaded, say
    assert not second.settle()
    library.unlink()
    assert third.settle()


def test_machine_without_a_compiler_computes(make_potential, empty_cache, monkeypatch):
    monkeypatch.setattr(build, "find_compiler", lambda: None)
    potential = make_potential(torch.float32)
    potential.compute(potential.graph(structure("water")))
    assert potential.choice.name() == "eager"
    assert "no C++ compiler; install one, or the package ziglang" in potential.choice.reason


def test_unwritable_cache_leaves_pytorch(make_potential, empty_cache):
    empty_cache.write_text("a file")
    potential = make_potential(torch.float32)
    potential.compute(potential.graph(structure("water")))
    assert "cannot be used" in potential.choice.reason


def test_cache_that_cannot_be_looked_into_leaves_pytorch(make_potential, empty_cache, monkeypatch):
    empty_cache.mkdir()
    monkeypatch.setenv("TDNCALC_CACHE", str(empty_cache / ("long" * 100)))  # as if not permitted
    potential = make_potential(torch.float32)
    potential.compute(potential.graph(structure("water")))
    assert "cannot be used" in potential.choice.reason


def test_user_without_a_home_computes(make_potential, empty_cache, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(build.Path, "home", no_home)
    for name in ("TDNCALC_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    potential = make_potential(torch.float32)
    potential.compute(potential.graph(structure("water")))
    assert "cannot be used" in potential.choice.reason


def test_build_that_someone_abandoned_is_taken_over(make_potential, empty_cache, monkeypatch):
    potential = make_potential(torch.float32)
    found = potential.choice._build
    empty_cache.mkdir()
    mark = found.library.with_suffix(".building")
    mark.touch()
    potential.choice.kernel()
    assert not list(empty_cache.glob("build-*"))  # someone else is at it
    os.utime(mark, (0, 0))
    assert potential.choice.settle()


@pytest.mark.parametrize(
    ("dtype", "evaluation", "reason"),
    [
        (torch.float64, "auto", "the kernel computes in float32"),
        (torch.float32, "eager", "it was asked for"),
    ],
)
def test_reason_for_pytorch_is_told(make_potential, empty_cache, dtype, evaluation, reason):
    assert make_potential(dtype, evaluation=evaluation).choice.reason == reason
    assert not empty_cache.exists()


def test_variable_says_what_auto_means(make_potential, monkeypatch):
    monkeypatch.setenv("TDNCALC_EVALUATION", "eager")
    assert make_potential(torch.float32).choice.reason == "it was asked for"


def test_network_without_a_kernel_says_why():
    kernel = choice.Choice(object(), "auto", torch.device("cpu"), torch.float32)
    assert kernel.kernel() is None


def test_inexact_factors_have_no_kernel(make_network, make_potential, empty_cache):
    network = make_network()
    object.__setattr__(network.coupling.factors, "residual", 1e-2)
    try:
        potential = make_potential(torch.float32, network)
        assert potential.choice.reason == "the kernel knows exact products only"
    finally:
        object.__setattr__(network.coupling.factors, "residual", 0.0)


@pytest.mark.parametrize("product", ["edge_product", "node_product"])
def test_network_of_approximate_products_has_no_kernel(
    make_network, make_potential, empty_cache, product
):
    potential = make_potential(torch.float32, make_network(**{product: "cp-approximate"}))
    assert potential.choice.reason == "the kernel knows exact products only"
