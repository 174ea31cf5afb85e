import pytest

from tdncalc.patterns import expand, matches


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.xyz", "a.xyz", ".a.xyz", "deep/er/c.xyz", "a[1].xyz", "a1.xyz", "x@2.xyz"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("?.xyz", ["a.xyz", "b.xyz"]),
        ("?.xyz@-1", ["a.xyz@-1", "b.xyz@-1"]),
        ("?.xyz@1::2", ["a.xyz@1::2", "b.xyz@1::2"]),
        ("[bc].xyz", ["b.xyz"]),
        ("x@*.xyz", ["x@2.xyz"]),
        ("**/c.xyz", ["deep/er/c.xyz"]),
        ("deep/**", ["deep/er/c.xyz"]),
        ("a[1].xyz", ["a[1].xyz"]),
        ("a[1].xyz@0", ["a[1].xyz@0"]),
        ("a.xyz", ["a.xyz"]),
        ("deep", ["deep"]),
        ("-", ["-"]),
        ("", [""]),
        ("*.cif@0", ["*.cif@0"]),
    ],
)
def test_input_stands_for_files(spec, expected, folder):
    assert expand(spec) == expected


def test_names_of_a_pattern_start_where_it_is_told(folder):
    assert matches("er/*", folder / "deep") == ["er/c.xyz"]
    assert matches("**", folder / "deep") == ["er/c.xyz"]


def test_folder_with_brackets_in_its_name_is_no_pattern(tmp_path):
    odd = tmp_path / "set[1]"
    odd.mkdir()
    (odd / "a.npz").touch()
    assert matches("*.npz", odd) == ["a.npz"]


def test_folder_of_the_user_is_found(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert expand("~/?.xyz") == [str(folder / "a.xyz"), str(folder / "b.xyz")]
