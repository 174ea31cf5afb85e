"""The speed comparisons run on their smallest systems, for our own contenders."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tdncalc.checkpoint import bundled_models, load_model, model_folder

FOLDER = Path(__file__).parent.parent / "examples" / "benchmarks"


@pytest.fixture
def harness(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import harness.environments as environments
    import harness.report as report
    import harness.systems as systems
    import harness.worker as worker

    return {"systems": systems, "report": report, "environments": environments, "worker": worker}


def run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(FOLDER / script), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TDNCALC_DATA": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in bundled_models() if "organic" in name])
def test_molecules_pressed_into_each_other_find_no_hole(name, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import collisions

    molecules = collisions.small_molecules(model_folder(name) / "sample.npz")
    potential = load_model(name, device="cpu", evaluation="compiled")
    assert collisions.deepest(potential, molecules, 30).min() > collisions.HOLE


@pytest.mark.slow
def test_loaded_core_compares_one_thread_with_two():
    text = run("loaded_core.py", "--rounds", "2", "--steps", "3")
    assert re.search(r"one thread [\d.]+ ms, two [\d.]+ ms of wall time; [\d.]+ times", text)


@pytest.mark.slow
def test_md_step_measures_and_reports(tmp_path):
    out = tmp_path / "md"
    short = ["--rounds", "1", "--steps", "3", "--seconds", "0"]
    chosen = ["--systems", "water", "--contenders", "tdncalc_eager", "tblite"]
    text = run("md_step.py", "--out", str(out), *short, *chosen)
    assert "| tdncalc eager | " in text
    assert "Without: GFN2-xTB (tblite): no environment" in text
    ours, other = json.loads(out.with_suffix(".json").read_text())["results"]
    assert len(ours["cpu_s"]) == 3
    assert ours["first_cpu_s"] > sum(ours["cpu_s"]) > 0
    assert other["without"] == "no environment"
    assert out.with_suffix(".png").stat().st_size > 5000


@pytest.mark.slow
def test_scaling_runs():
    small = ["--atoms", "24", "--cutoffs", "4", "--seconds", "0", "--repeats", "1"]
    text = run("scaling.py", *small, "--evaluations", "eager", "--md-steps", "0")
    assert re.search(r"\| eager \| 24 \| 1 \|", text)
    assert re.search(r"\| eager \| 4 \| 24 \|", text)


@pytest.mark.slow
def test_memory_and_files_of_a_run_are_measured():
    text = run("md_overhead.py", "--steps", "1001", "--crystal-steps", "2")
    assert re.search(r"memory after 1000 steps \d+\.\d MB, after 1001 \d+\.\d MB", text)
    assert re.search(r"files take \d+\.\d+ % of processor time", text)


@pytest.mark.slow
def test_drift_is_measured_and_drawn(tmp_path):
    text = run("nve_drift.py", "--picoseconds", "0.05", "--output", str(tmp_path / "drift.png"))
    assert "21 atoms, 0.1 ps" in text
    assert re.search(r"drift [+-]\d", text)
    assert (tmp_path / "drift.png").stat().st_size > 5000


def test_trend_of_a_linear_cost_is_one(harness):
    from scaling import trend

    rows = [{"atoms": n, "cpu_ms": 0.02 * n, "peak_MB": 300 + 0.01 * n} for n in (200, 900, 11_000)]
    found = trend(rows)
    assert found["slope"] == pytest.approx(1)
    assert found["10000_to_1000_per_atom"] == pytest.approx(1)
    assert found["kB_per_atom"] == pytest.approx(10.24)


@pytest.mark.slow
def test_batches_without_data_are_g2_molecules():
    text = run("batches.py", "--molecules", "5", "--repeats", "1", "--evaluations", "eager")
    assert "5 molecules (G2)" in text
    assert re.search(r"\| eager \| \d+ \| \d+ \|", text)


@pytest.mark.slow
def test_relaxations_end_where_those_of_scipy_do():
    text = run("relax_minima.py", "--structures", "5")
    assert "5 structures: 5 converged, 5 at SciPy's minimum within 1 meV" in text


@pytest.mark.slow
def test_relaxing_together_is_compared():
    text = run("relax_many.py", "--molecules", "4", "--sample", "2", "--fmax", "0.5")
    assert "4 molecules (G2)" in text
    assert re.search(r"one at a time +2 +\d+\.\d +2 ", text)
    assert "2 of 2 minima within 1 meV and 0.01 Å" in text


def test_waters_of_a_box_are_apart_and_whole(harness):
    atoms = harness["systems"].water_box(4, 4, 4)
    distances = atoms.get_all_distances(mic=True)
    molecule = np.arange(len(atoms)) // 3
    same = molecule[:, None] == molecule
    assert distances[~same].min() > 1.5
    assert distances[same].max() < 1.6
    assert atoms.get_masses().sum() / atoms.get_volume() * 1.66054 == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["water", "aspirin", "water-box", "silicon", "benzene"])
def test_system_has_its_number_of_atoms(harness, name):
    systems = harness["systems"]
    assert len(systems.make_system(name)) == systems.SYSTEMS[name][0]


def test_every_contender_is_described(harness):
    found = harness["environments"].contenders()
    assert [one.name for one in found if one.ours] == [
        "tdncalc_compiled",
        "tdncalc_e3nn",
        "tdncalc_eager",
        "tdncalc_large",
        "tdncalc_metals",
        "tdncalc_small",
    ]
    assert all(one.setup for one in found if not one.ours)
    assert len({one.label for one in found}) == len(found) > 10


def test_every_contender_sees_the_same_positions(harness):
    """The contender's own forces do not move the atoms."""
    worker, atoms = harness["worker"], harness["systems"].make_system("water")

    class Strong:
        calls = 0

        def get_forces(self, atoms):
            self.calls += 1
            return np.full((len(atoms), 3), 1e3)

    contender = Strong()
    springs = worker.Springs(contender, atoms)
    atoms.positions[0, 0] += 0.1
    forces = springs.get_forces(atoms)
    assert contender.calls == 1
    assert forces == pytest.approx(np.array([[-0.1, 0, 0], [0, 0, 0], [0, 0, 0]]))


def test_table_compares_with_the_compiled_kernel(harness):
    run_of = {"system": "water", "threads": 1, "first_cpu_s": 2.0, "peak_MB": 300.0}
    report = {
        "machine": {"processor": "P", "cores": 2, "memory_GB": 8},
        "systems": {"water": 3},
        "contenders": {
            "tdncalc_compiled": {"label": "ours", "model": "m", "versions": {}},
            "other": {"label": "theirs", "model": "n", "versions": {"torch": "2"}},
        },
        "results": [
            run_of | {"contender": "tdncalc_compiled", "cpu_s": [0.001] * 3, "wall_s": [0.001]},
            run_of | {"contender": "other", "cpu_s": [0.03, 0.05, 0.04], "wall_s": [0.04]},
        ],
    }
    text = harness["report"].table(report)
    assert "| ours | 1 | 1 | 1 | 86.4 | 333 | 2 | 300 | 3 |" in text
    assert "| theirs | 40 | 40 | 40 | 2.16 | 13,333 | 2 | 300 | 3 |" in text
    two = {"contender": "other", "threads": 2, "cpu_s": [0.05], "wall_s": [0.025]}
    report["results"].append(run_of | two)
    text = harness["report"].table(report)
    assert "| ours | 1 | 1 | 1 | – | 86.4 | 333 | 2 | 300 | 3 |" in text
    assert "| theirs | 40 | 40 | 40 | 25 | 2.16 | 13,333 | 2 | 300 | 3 |" in text


@pytest.mark.slow
def test_memory_of_data_on_disk_is_measured():
    text = run("data_memory.py", "--structures", "40", "80", "--steps", "2")
    assert re.search(r"^ +80 +\d+ +\d+ +\d+ +\d+ +\d+$", text, flags=re.MULTILINE)


@pytest.mark.slow
def test_novelty_ranks_and_separates(tmp_path):
    from ase.build import molecule
    from ase.io import write

    from tdncalc import TDNCalculator

    frames = [molecule(name) for name in ("CH3OH", "C6H6", "H2O", "CH3CHO")]
    for atoms in frames:
        atoms.rattle(0.05, seed=1)
        atoms.calc = TDNCalculator(evaluation="eager")
        atoms.get_forces()
    write(tmp_path / "test.extxyz", frames)
    text = run("novelty.py", "--test", "test.extxyz", "--data", str(tmp_path))
    assert "test.extxyz: 4 structures, 0.0% above 1" in text
    row = next(line for line in text.splitlines() if line.startswith("| covalent"))
    assert float(row.split("|")[5]) > 0.9


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it measures")
def test_step_on_a_gpu_says_what_it_needs():
    done = subprocess.run(
        [sys.executable, str(FOLDER / "cuda_step.py")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("this needs an NVIDIA GPU, a CUDA build of PyTorch")


def test_bytes_of_a_gathering_are_those_of_its_tensors(harness):
    from cuda_step import Sizes

    sizes = Sizes(n_atoms=5, n_edges=7, d_in=9, d_out=9, channels=4)
    s = a = torch.zeros(5, 9, 4)
    harmonics, weights, row = torch.zeros(7, 9), torch.zeros(7, 3, 4), torch.zeros(7)
    starts = torch.zeros(5)
    forward = [s, harmonics, weights, a, row, row, starts]
    assert sizes.forward() == sum(4 * x.numel() for x in forward)
    once = [harmonics, weights]
    backward = [a, s, *once, *once, row, row, starts]  # by target
    backward += [a, *once, s, row, row, starts]  # by source
    assert sizes.backward() == sum(4 * x.numel() for x in backward)


@pytest.mark.slow
def test_optimizers_are_compared():
    text = run("optimizers.py", "--molecules", "1", "--fmax", "0.5")
    rows = re.findall(r"\| (ASE's )?\w+ \| [\d.]+ \| \d+ \| \d of \d ", text)
    assert len(rows) == 5 * 7


@pytest.mark.slow
def test_killed_relaxations_are_counted():
    text = run("kills.py", "--relax", "12", "--kills", "2")
    rounds = re.findall(r"\d kills, with \d+ to \d+ done; 0 lost, 0 twice, structures in", text)
    assert rounds
    assert text.splitlines()[-1].endswith(f"kills in {len(rounds)} relaxations of 12 molecules")


def test_structures_that_a_kill_lost_or_doubled_are_told(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import kills

    def wrote(name, *numbers):
        folder = tmp_path / name
        folder.mkdir()
        rows = [{"input": f"x{n}", "steps": n, "energy_eV": -n * 1.0} for n in numbers]
        (folder / "relax.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        frames = [kills.Atoms("H", info={"input": f"x{n}"}) for n in numbers]
        kills.write(folder / "relaxed.extxyz", frames)
        return folder

    found = kills.compared(wrote("whole", 10, 11, 12), wrote("parts", 10, 12, 12))
    assert found.startswith("1 lost, 1 twice, structures in the order of the table; 0 with other")


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which("chromium") or shutil.which("chromium-browser")),
    reason="there is no chromium on this machine",
)
def test_opening_of_a_report_is_measured():
    pytest.importorskip("playwright")
    text = run("report_opening.py", "--frames", "20", "--openings", "1")
    assert text.startswith("20 frames of 50 atoms, 0.")
    assert re.search(r"drawn after \d+\.\d\d s \(median of 1, .*, \d+\.\d\d s of processor", text)
