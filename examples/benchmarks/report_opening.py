"""How long the report of a trajectory takes to open in a browser, headless Chromium.

Dynamics of five molecules of acetone are run and reported. The time counts from the navigation to
the frame after the 3D picture is drawn, which is then looked at: it must not be empty. Every
opening is one of a new browser; processor time is that of all of its processes.

    python report_opening.py [--frames 1000] [--openings 5]
"""

import argparse
import io
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import matplotlib.image
import numpy as np
from ase import Atoms
from ase.build import molecule
from harness.report import machine
from playwright.sync_api import BrowserType, sync_playwright

from tdncalc import MDFiles, MDSettings, TDNCalculator, run_md
from tdncalc.report import build_page, read_runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Chromium as root has no sandbox; WebGL is drawn by the CPU.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
# When the frame is painted that follows the end of the page's own work, ms since the navigation.
DRAWN = """new Promise(done => {
  const main = document.getElementById("main");
  const painted = () => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now())));
  if (main.dataset.ready) return painted();
  new MutationObserver((_, observer) => {
    if (main.dataset.ready) { observer.disconnect(); painted(); }
  }).observe(main, { attributes: true });
})"""
TICKS = os.sysconf("SC_CLK_TCK")


def measure() -> None:
    """Print the median time from the navigation to the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--openings", type=int, default=5)
    options = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("this needs Chromium; install it")
    with tempfile.TemporaryDirectory() as scratch, sync_playwright() as playwright:
        page = Path(scratch, "report.html")
        page.write_text(reported(options.frames, Path(scratch)))
        found = [opened(playwright.chromium, page) for _ in range(options.openings)]
        size = page.stat().st_size / 1e6
    wall, cpu = (statistics.median(times) for times in zip(*found, strict=True))
    longest = max(time for time, _ in found)
    print(f"{options.frames} frames of 50 atoms, {size:.2f} MB, {machine()['processor']}")
    print(
        f"drawn after {wall:.2f} s (median of {options.openings}, at most {longest:.2f} s), "
        f"{cpu:.2f} s of processor time"
    )


def reported(n_frames: int, folder: Path) -> str:
    """Run dynamics, and return the page that shows it."""
    atoms = Atoms()
    for k in range(5):
        one = molecule("CH3COCH3")
        one.translate([7.0 * k, 0.0, 0.0])
        atoms += one
    atoms.calc = TDNCalculator("organic-small", device="cpu")
    settings = MDSettings(steps=5 * (n_frames - 1), interval=5, ensemble="nvt-bussi")
    endings = {"trajectory": "traj", "csv": "csv", "checkpoint": "checkpoint"}
    files = MDFiles(**{kind: folder / f"acetone-md.{end}" for kind, end in endings.items()})
    run_md(atoms, settings=settings, files=files)
    return build_page(read_runs([str(folder / "acetone-md")]), created="today")


def opened(chromium: BrowserType, page: Path) -> tuple[float, float]:
    """Open a page in a new browser; return the time and the processor time until it is drawn, s."""
    browser = chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    tab = browser.new_context(offline=True).new_page()
    before = processor_seconds()
    tab.goto(page.as_uri(), wait_until="commit")
    milliseconds = tab.evaluate(DRAWN)
    spent = processor_seconds() - before
    picture = tab.locator(".stage").screenshot()
    browser.close()
    pixels = matplotlib.image.imread(io.BytesIO(picture))[..., :3]
    shown = np.abs(pixels - pixels[0, 0]).max(axis=-1) > 0.2
    assert shown.mean() > 0.005, "the picture is empty"
    return milliseconds / 1000, spent


def processor_seconds() -> float:
    """Return the processor time of all processes that this one started, s."""
    parents, seconds = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        number = int(folder.name)
        parents[number] = int(fields[1])
        seconds[number] = sum(map(int, fields[11:15])) / TICKS
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(seconds[one] for one in ours - {os.getpid()})


if __name__ == "__main__":
    measure()
