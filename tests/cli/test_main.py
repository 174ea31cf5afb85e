import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read, write

import tdncalc
from tdncalc.cli import session
from tdncalc.cli.main import COMMANDS, main

EMT_PROGRAM = Path(__file__).parent / "emt.py"
HEAVY = {"torch", "ase", "numpy", "e3nn", "pymatgen", "scipy", "yaml"}


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_help_imports_nothing_heavy():
    done = run_python(
        "import sys; from tdncalc.cli.main import main; main(['--help']); "
        f"print('heavy:', sorted({HEAVY} & set(sys.modules)))"
    )
    assert done.stdout.endswith("heavy: []\n")


def test_help_takes_less_than_three_tenths_of_a_second():
    def cpu_seconds():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    before = cpu_seconds()
    run_python("from tdncalc.cli.main import main; main(['--help'])")
    assert cpu_seconds() - before < 0.3


def test_commands_import_no_torch_before_they_need_a_model():
    done = run_python(
        "import sys; from tdncalc.cli.main import main; main(['relax', 'missing.xyz']); "
        "main(['md', 'missing.xyz', '--steps', '1']); main(['energy', 'missing.xyz']); "
        "print('torch' in sys.modules)"
    )
    assert done.stdout == "False\n"


def test_completion_of_commands_imports_nothing_heavy():
    done = run_python(
        "import os, sys; os.environ.update(_TDN_COMPLETE='bash_complete', COMP_WORDS='tdn rel', "
        "COMP_CWORD='1')\n"
        "from tdncalc.cli.main import tdn\n"
        "try: tdn.main([], prog_name='tdn')\n"
        f"finally: print('heavy:', sorted({HEAVY} & set(sys.modules)))"
    )
    assert done.stdout == "plain,relax\nheavy: []\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_list_of_commands_repeats_the_first_line_of_their_help(command, tdn):
    outcome = tdn(command, "--help")
    assert outcome.code == 0
    assert COMMANDS[command] in " ".join(outcome.out.split())


def test_version(tdn):
    assert tdn("--version").out == f"tdn, version {tdncalc.__version__}\n"


def test_no_command_shows_help_and_is_a_usage_error(tdn):
    outcome = tdn()
    assert outcome.code == 2
    assert "Commands:" in outcome.err


def test_module_runs_the_command_line():
    done = subprocess.run(
        [sys.executable, "-m", "tdncalc", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("tdn, version")


@pytest.fixture
def broken(monkeypatch, tdn, water):
    def explode(options):
        raise RuntimeError("first line\nsecond line")

    monkeypatch.setattr(session, "load_calculator", explode)
    return lambda *args: tdn("energy", water, *args)


def test_unexpected_error_is_one_line_with_a_hint(broken):
    outcome = broken()
    assert outcome.code == 1
    assert outcome.err == (
        "Error: unexpected RuntimeError: first line second line; the option -v shows where\n"
    )


def test_verbose_shows_the_traceback(broken):
    outcome = broken("-v")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert "in explode" in outcome.err


def test_interrupt_outside_of_a_run_is_one_line(monkeypatch, tdn, water):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "load_calculator", interrupt)
    outcome = tdn("energy", water)
    assert (outcome.code, outcome.err.strip()) == (130, "Error: interrupted")


def test_reader_that_leaves_is_no_traceback(start, water):
    process = start("energy", water)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait() == 1


@pytest.mark.parametrize("command", ["energy", "relax"])
def test_reader_that_leaves_takes_no_results_along(command, start):
    write("all.extxyz", [bulk("Cu", cubic=True)] * 40)
    process = start(command, "all.extxyz", "-o", "out.extxyz")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.wait()
    assert len(read("out.extxyz", ":")) == 40


def test_closed_streams_are_no_error(copper):
    command = [sys.executable, str(EMT_PROGRAM), "0", "md", copper, "--steps", "2"]
    script = f"{shlex.join(command)} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    assert len(read("copper-md.traj", ":")) == 1


def test_openmp_threads_wait_without_spinning(monkeypatch):
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    done = run_python(
        "import os; from tdncalc.cli.main import main; main(['--version']); "
        "print(os.environ['OMP_WAIT_POLICY'])"
    )
    assert done.stdout.endswith("PASSIVE\n")


def test_users_openmp_policy_is_kept(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    main(["--version"])
    done = run_python("import os; print(os.environ['OMP_WAIT_POLICY'])")
    assert done.stdout == "ACTIVE\n"
