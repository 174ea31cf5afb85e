"""Every script in examples/ runs as it stands."""

import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
WRITES = {
    "attach_calculator": set(),
    "evaluate_batch": set(),
    "molecular_dynamics": {
        "ethanol-md.checkpoint",
        "ethanol-md.csv",
        "ethanol-md.png",
        "ethanol-md.traj",
    },
    "relax_crystal": {"benzene-relaxed.vasp"},
    "relax_molecule": {"ethanol-relaxed.xyz"},
}


def run(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out


def test_every_example_is_tested():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(WRITES)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITES)
def test_example_runs_and_writes_its_files(name, tmp_path, monkeypatch, capsys):
    out = run(name, tmp_path, monkeypatch, capsys)
    assert out
    assert "converged: False" not in out
    written = {path.name for path in tmp_path.iterdir()}
    assert WRITES[name] <= written
    assert bool(WRITES[name]) == bool(written)


@pytest.mark.slow
def test_python_of_the_readme_runs(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent)
    blocks = re.findall(r"```python\n(.*?)```", Path("README.md").read_text(), flags=re.DOTALL)
    found = [{} for _ in blocks]
    for block, names in zip(blocks, found, strict=True):
        exec(block, names)
    calculator, single, dispersive, many = found
    assert len(calculator["atoms"].calc.results["forces"]) == 21
    assert single["result"].converged
    assert str(dispersive["calculator"].potential.dispersion) == "D3(BJ) of pbe"
    assert len(many["results"]) == 3
