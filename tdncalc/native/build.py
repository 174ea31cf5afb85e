"""Compile a kernel once per machine, in the background, and keep it."""

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Build", "cache_folder", "find_build", "find_compiler"]

CACHE_VARIABLE = "TDNCALC_CACHE"
_SOURCES = Path(__file__).parent
# Not -ffast-math: a library that was linked with it changes the arithmetic of the whole process.
_FLAGS = (
    *("-std=c++17", "-O3", "-shared", "-fPIC", "-pthread"),
    *("-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math"),
    "-march=native" if platform.machine() in ("x86_64", "AMD64") else "-mcpu=native",
)
_ABANDONED = 600.0  # seconds after which a build of another process counts as dead


@dataclass
class Build:
    """The library of a kernel, there or not yet.

    Attributes
    ----------
    library
        Where it is, or will be.
    headers
        The generated sources by name.
    source
        What is compiled with them.
    """

    library: Path
    headers: Mapping[str, str]
    source: Path

    def ready(self) -> bool:
        """Tell whether the library can be loaded."""
        return self.library.exists()

    def start(self) -> str | None:
        """Begin to compile, unless someone does; return why that is impossible, or None."""
        if self.ready() or self._running():
            return None
        if self._log.exists():
            return f"it did not compile here, see {self._log}"
        compiler = find_compiler()
        if compiler is None:
            return "there is no C++ compiler; install one, or the package ziglang"
        try:
            self._launch(compiler)
        except (OSError, subprocess.SubprocessError) as error:
            return f"{self.library.parent} cannot be used ({error})"
        return None

    def wait(self) -> bool:
        """Wait for the compiler, and tell whether the library is there."""
        while not self.ready() and self._running():
            time.sleep(0.02)
        return self.ready()

    @property
    def _log(self) -> Path:
        return self.library.with_suffix(".log")

    @property
    def _mark(self) -> Path:
        return self.library.with_suffix(".building")

    def _running(self) -> bool:
        try:
            return time.time() - self._mark.stat().st_mtime < _ABANDONED
        except OSError:
            return False

    def _launch(self, compiler: tuple[str, ...]) -> None:
        folder = self.library.parent
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder, prefix="build-"))
        for name, text in self.headers.items():
            (work / name).write_text(text)
        self._mark.touch()
        made = work / "kernel.so"
        command = [*compiler, *_FLAGS, f"-I{work}", f"-I{_SOURCES}", str(self.source)]
        command += ["-o", str(made)]
        # a shell in the background: it outlives this process, and nobody has to wait for it
        script = (
            f"(if {shlex.join(command)} >{_quoted(work / 'log')} 2>&1;"
            f" then mv {_quoted(made)} {_quoted(self.library)};"
            f" else mv {_quoted(work / 'log')} {_quoted(self._log)}; fi;"
            f" rm -rf {_quoted(work)} {_quoted(self._mark)}) </dev/null >/dev/null 2>&1 &"
        )
        subprocess.run(["nice", "sh", "-c", script], check=True, start_new_session=True)


def find_build(headers: Mapping[str, str], source: Path = _SOURCES / "kernel.cpp") -> Build:
    """Return the build of a kernel on this machine, named by all that it depends on."""
    digest = hashlib.sha256("\n".join([*_FLAGS, _machine()]).encode())
    for file in [*sorted(_SOURCES.glob("*.h")), source]:
        digest.update(file.read_bytes())
    for name in sorted(headers):
        digest.update(headers[name].encode())
    library = cache_folder() / f"{source.stem}-{digest.hexdigest()[:24]}.so"
    return Build(library, headers, source)


def cache_folder() -> Path:
    """Return the folder of compiled kernels: TDNCALC_CACHE, else the user's cache."""
    if own := os.environ.get(CACHE_VARIABLE):
        return Path(own)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tdncalc"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tdncalc"


def find_compiler() -> tuple[str, ...] | None:
    """Return the command of a C++ compiler: CXX, one on the path, or the one of ziglang."""
    if own := os.environ.get("CXX"):
        return tuple(shlex.split(own))
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return (found,)
    return (sys.executable, "-m", "ziglang", "c++") if find_spec("ziglang") else None


def _machine() -> str:
    """Name the processor: a kernel uses whatever instructions it has."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            lines = [
                line for line in file.read(8192).splitlines() if line.startswith(("flags", "Feat"))
            ]
    except OSError:
        lines = []
    return " ".join([platform.system(), platform.machine(), platform.processor(), *lines[:1]])


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
