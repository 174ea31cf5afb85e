"""The contenders and their virtual environments."""

import runpy
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from ase.data import atomic_numbers

__all__ = ["FOLDER", "Contender", "contenders", "set_up"]

FOLDER = Path(__file__).parent.parent
TORCH = "torch==2.13.0"


@dataclass(frozen=True)
class Contender:
    """One file of peers/.

    Attributes
    ----------
    name
        Of the file.
    label, package, model
        What the tables call it, what is installed, which network it is.
    setup
        Requirements of its environment; none: it runs in the present one.
    environment
        Name of the environment, which contenders may share.
    elements
        Atomic numbers that it knows; none: all.
    remove
        Packages to remove from its environment, which came along but do not work there.
    largest
        Atoms, beyond which it is not asked.
    """

    name: str
    label: str
    package: str
    model: str
    setup: tuple[str, ...]
    environment: str
    elements: frozenset[int] = field(default=frozenset())
    remove: tuple[str, ...] = ()
    largest: int = 10**9

    @property
    def path(self) -> Path:
        """The file."""
        return FOLDER / "peers" / f"{self.name}.py"

    @property
    def ours(self) -> bool:
        """Whether it is this package."""
        return not self.setup

    def python(self, environments: Path | None) -> str | None:
        """Return the interpreter of its environment, or None where there is none."""
        if self.ours:
            return sys.executable
        path = environments / self.environment / "bin" / "python" if environments else Path("/none")
        return str(path.absolute()) if path.exists() else None


def contenders() -> list[Contender]:
    """Return all contenders, ours first."""
    found = [_read(path) for path in sorted((FOLDER / "peers").glob("*.py"))]
    return sorted(found, key=lambda one: (not one.ours, one.name))


def _read(path: Path) -> Contender:
    given = runpy.run_path(str(path))
    return Contender(
        name=path.stem,
        label=given["LABEL"],
        package=given["PACKAGE"],
        model=given["MODEL"],
        setup=tuple(given["SETUP"]),
        environment=given.get("ENVIRONMENT", path.stem),
        elements=frozenset(atomic_numbers[symbol] for symbol in given.get("ELEMENTS", "").split()),
        remove=tuple(given.get("REMOVE", ())),
        largest=given.get("LARGEST", 10**9),
    )


def set_up(chosen: list[Contender], folder: Path) -> None:
    """Make the environments of contenders; one that fails is reported and left out."""
    wanted = {one.environment: one for one in chosen if not one.ours}
    for environment, one in wanted.items():
        place = folder / environment
        if (place / "ready").exists():
            continue
        try:
            _make(place, one)
        except subprocess.CalledProcessError as error:
            print(f"{environment}: cannot be made, {error}", flush=True)
        else:
            print(f"{environment}: ready", flush=True)


def _make(place: Path, one: Contender) -> None:
    """Install torch first and by itself, so that a peer takes it instead of another build."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip"]
    constraints = place / "constraints.txt"
    constraints.write_text(TORCH + "\n")
    subprocess.run([*pip, "install", "--quiet", TORCH], check=True)
    subprocess.run([*pip, "install", "--quiet", "-c", str(constraints), *one.setup], check=True)
    if one.remove:
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", *one.remove], check=True)
    (place / "ready").touch()
