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
from contextlib import suppress
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
# Of a compiler that was killed, or had no room: another time it may not be.
_PASSING = "[Kk]illed|No space left|annot allocate memory|virtual memory exhausted"
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
        try:
            return self.library.exists()
        except OSError:  # its folder may be another user's
            return False

    def start(self) -> str | None:
        """Begin to compile, unless someone does; return why that is impossible, or None."""
        if self.ready() or self._running():
            return None
        compiler = find_compiler()
        if compiler is None:
            return "there is no C++ compiler; install one, or the package ziglang"
        try:
            if (log := self._log(compiler)).exists():
                return f"it did not compile here, see {log}"
            self._launch(compiler)
        except (OSError, subprocess.SubprocessError) as error:
            return f"{self.library.parent} cannot be used ({error})"
        return None

    def wait(self) -> bool:
        """Wait for the compiler, and tell whether the library is there."""
        self._attend()
        if not self.ready() and self.start() is None:  # whoever compiled was killed
            self._attend()
        return self.ready()

    def discard(self) -> None:
        """Put a library aside that cannot be loaded, once: the next start compiles it anew."""
        aside = self.library.with_suffix(".damaged")
        with suppress(OSError):
            if not aside.exists():
                self.library.replace(aside)

    def _attend(self) -> None:
        while not self.ready() and self._running():
            time.sleep(0.02)

    def _log(self, compiler: tuple[str, ...]) -> Path:
        """Name the report of a failure; that of another compiler says nothing of this one."""
        name = hashlib.sha256(shlex.join(compiler).encode()).hexdigest()[:8]
        return self.library.with_suffix(f".{name}.log")

    @property
    def _mark(self) -> Path:
        return self.library.with_suffix(".building")

    def _running(self) -> bool:
        try:
            recent = time.time() - self._mark.stat().st_mtime < _ABANDONED
            process, _, host = self._mark.read_text().strip().partition(" ")
        except OSError:
            return False
        here = host == platform.node() and process.isdigit()
        return recent and (not here or _lives(int(process)))

    def _launch(self, compiler: tuple[str, ...]) -> None:
        folder = self.library.parent
        folder.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(dir=folder, prefix="build-"))
        for name, text in self.headers.items():
            (work / name).write_text(text)
        log, kept = _quoted(work / "log"), _quoted(self._log(compiler))
        made = work / "kernel.so"
        command = [*compiler, *_FLAGS, f"-I{work}", f"-I{_SOURCES}", str(self.source)]
        command += ["-o", str(made)]
        # what a shell within says is the number of the one that compiles
        number = f"echo $PPID {shlex.quote(platform.node())}"
        # a shell in the background: it outlives this process, and nobody has to wait for it
        script = (
            f"(sh -c {shlex.quote(number)} >{_quoted(self._mark)};"
            f" if {shlex.join(command)} >{log} 2>&1;"
            f" then mv {_quoted(made)} {_quoted(self.library)};"
            f" else grep -qE {shlex.quote(_PASSING)} {log} || mv {log} {kept}; fi;"
            f" rm -rf {_quoted(work)} {_quoted(self._mark)}) </dev/null >/dev/null 2>&1 &"
        )
        self._mark.write_text("")  # no longer of a process that is gone
        try:
            subprocess.run(["nice", "sh", "-c", script], check=True, start_new_session=True)
        except BaseException:
            self._mark.unlink(missing_ok=True)
            raise


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
        return _home() / "Library" / "Caches" / "tdncalc"
    return Path(os.environ.get("XDG_CACHE_HOME") or _home() / ".cache") / "tdncalc"


def find_compiler() -> tuple[str, ...] | None:
    """Return the command of a C++ compiler: CXX, one on the path, or the one of ziglang."""
    if own := os.environ.get("CXX"):
        return tuple(shlex.split(own))
    for name in ("c++", "g++", "clang++"):
        if found := shutil.which(name):
            return (found,)
    return (sys.executable, "-m", "ziglang", "c++") if find_spec("ziglang") else None


def _home() -> Path:
    """Return the user's folder; for one who has none, as in some containers, no folder."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(os.devnull)


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


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
