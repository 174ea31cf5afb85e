"""What a user of the package meets first: its names, its import, its requirements."""

import importlib
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import tdncalc

ROOT = Path(__file__).parent.parent
MODEL_FILES = {"model.safetensors", "card.json", "README.md", "train.yaml", "learning_curve.png"}
HEAVY = ["torch", "ase", "e3nn", "torch_geometric", "pymatgen", "numpy", "scipy", "matplotlib"]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def python(code):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout.split()


@pytest.mark.parametrize("name", tdncalc.__all__)
def test_public_name_resolves(name):
    assert getattr(tdncalc, name) is not None
    assert name in dir(tdncalc)


def test_public_names_are_sorted_and_unique():
    assert list(tdncalc.__all__) == sorted(set(tdncalc.__all__))


def test_every_error_is_public():
    errors = importlib.import_module("tdncalc.errors")
    assert set(errors.__all__) <= set(tdncalc.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'tdncalc' has no attribute 'TDNCalculater'"):
        _ = tdncalc.TDNCalculater


def test_import_loads_nothing_heavy():
    assert python(f"import sys, tdncalc; print(*set({HEAVY}) & set(sys.modules))") == []


def test_import_takes_less_than_50_ms():
    clock = "time.process_time()"  # what other processes take does not count
    code = f"import time; start = {clock}; import tdncalc; print({clock} - start)"
    assert min(float(python(code)[0]) for _ in range(3)) < 0.05


def test_an_error_can_be_imported_without_torch():
    assert python("import sys; from tdncalc import TDNError; print('torch' in sys.modules)") == [
        "False"
    ]


def test_a_model_card_is_read_without_torch():
    code = "import sys, tdncalc; tdncalc.read_card('organic'); print('torch' in sys.modules)"
    assert python(code) == ["False"]


def test_requirements_are_lower_bounds_only():
    requirements = project()["dependencies"]
    assert "torch>=2.6" in requirements
    for requirement in requirements:
        assert requirement.count(">=") == 1
        assert not set(requirement) & set("<~!;@,")


def test_installed_version_is_that_of_the_code():
    assert version("tdncalc") == tdncalc.__version__


def test_package_says_that_it_is_typed():
    assert (Path(tdncalc.__file__).parent / "py.typed").is_file()


def test_default_model_is_bundled():
    assert "organic" in tdncalc.bundled_models()


def test_every_model_folder_is_complete():
    for folder in (ROOT / "models").iterdir():
        assert {path.name for path in folder.iterdir()} >= MODEL_FILES


def test_wheel_holds_the_models_and_nothing_else_of_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    models = {f"tdncalc/{path.relative_to(ROOT)}" for path in (ROOT / "models").rglob("*.*")}
    assert models <= names
    assets = (ROOT / "tdncalc" / "report" / "assets").rglob("*.*")
    assert {str(path.relative_to(ROOT)) for path in assets if path.is_file()} <= names
    assert "tdncalc/py.typed" in names
    assert {name.split("/")[0] for name in names} == {
        "tdncalc",
        f"tdncalc-{tdncalc.__version__}.dist-info",
    }
