"""The page as a reader has it, in headless Chromium."""

import io
import itertools
import re
import shutil
from importlib.resources import files
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read, write

from tdncalc.report import build_page, read_runs

sync_api = pytest.importorskip("playwright.sync_api")
GEOMETRY = files("tdncalc.report") / "assets/js/geometry.js"
LIQUID = Path(__file__).parents[2] / "examples/water.extxyz"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine"),
]
# Chromium as root has no sandbox; WebGL is drawn by the CPU.
INKED = "c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter(x => x).length"
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, folder):
    """Open the report of runs; at the end there were no complaints and no requests."""
    complaints, requests, contexts = [], [], []

    def show(*specs, width=1000, **options):
        target = folder / "report.html"
        target.write_text(build_page(read_runs(specs), created="today"))
        viewport = {"width": width, "height": 600}
        context = chromium.new_context(viewport=viewport, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(target.as_uri())
        page.wait_for_selector("main[data-ready]", timeout=60_000)
        drawn(page)
        requests[:] = [url for url in requests if url != target.as_uri()]
        return page

    yield show
    for context in contexts:
        context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith("data:,")] == []


def drawn(page):
    """Wait until plots have their size."""
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def picture(page):
    """The pixels of the 3D picture (height, width, 3)."""
    png = page.locator(".stage").screenshot()
    return matplotlib.image.imread(io.BytesIO(png))[..., :3]


def cursors(page):
    return page.eval_on_selector_all(
        ".plots .cursor", "lines => lines.map(line => Number(line.getAttribute('x1')))"
    )


def names(page):
    return page.locator("tbody .name").all_inner_texts()


def test_the_molecule_is_drawn(opened, dynamics):
    pixels = picture(opened(dynamics()))
    red = (pixels[..., 0] > 0.5) & (pixels[..., 1] < 0.35) & (pixels[..., 2] < 0.35)
    assert 300 < red.sum() < 0.2 * red.size  # the oxygen
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 500


def test_the_slider_moves_the_atoms_and_the_cursors(opened, dynamics):
    page = opened(dynamics())
    before, start = picture(page), cursors(page)
    page.locator("input[type=range]").fill("29")
    after, end = picture(page), cursors(page)
    assert (np.abs(after - before).max(axis=-1) > 0.2).mean() > 0.005
    assert len(start) == 4
    assert all(b > a + 150 for a, b in zip(start, end, strict=True))
    assert page.locator("output").inner_text() == "290 fs · 30 / 30"
    assert page.locator("[data-key=potential_eV] .value").inner_text() == "−102.90 eV"


def test_a_cut_line_is_whole_where_it_is_alone(opened, dynamics):
    page = opened(dynamics("water", n_frames=3, atoms=read(LIQUID)))
    plot = page.locator("[data-key=rdf]")

    def highest():
        ticks = plot.locator("text[text-anchor=end]").all_text_contents()
        return max(float(tick) for tick in ticks if tick.replace(".", "").isdigit())

    assert highest() < 6
    for other in ("H–H", "O–O"):
        plot.get_by_role("button", name=other).click()
    assert highest() > 8


def test_a_click_in_a_plot_moves_the_frame(opened, dynamics):
    page = opened(dynamics())
    box = page.locator("[data-key=temperature_K] svg").bounding_box()
    page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 40)
    assert page.locator("input[type=range]").input_value() == "29"


def test_keys_step_and_play(opened, dynamics):
    page = opened(dynamics())
    slider = page.locator("input[type=range]")
    page.locator("body").press("ArrowRight")
    assert slider.input_value() == "1"
    page.locator("body").press("End")
    assert slider.input_value() == "29"
    page.locator("body").press("Home")
    page.locator("body").press("Space")
    assert page.get_by_label("Pause").is_visible()
    sync_api.expect(slider).to_have_value(re.compile(r"[3-9]|\d\d"), timeout=60_000)
    page.locator("body").press("Space")
    assert page.get_by_label("Play", exact=True).is_visible()


def test_typed_atoms_are_measured_as_ase_does(opened, dynamics):
    stem = dynamics()
    page = opened(stem)
    frame = read(f"{stem}.traj@12")
    page.locator("input[type=range]").fill("12")
    for atoms, expected in (
        ([0, 1], frame.get_distance(0, 1)),
        ([0, 1, 2], frame.get_angle(0, 1, 2)),
        ([3, 2, 1, 0], (frame.get_dihedral(3, 2, 1, 0) + 180) % 360 - 180),
    ):
        page.locator(".measure input").fill(", ".join(map(str, atoms)))
        page.locator(".measure input").press("Enter")
        value = page.locator(".measure .value")
        sync_api.expect(value).to_contain_text("Å" if len(atoms) == 2 else "°")
        shown = value.inner_text().replace("−", "-")
        assert float(shown.split()[0].rstrip("°")) == pytest.approx(expected, rel=5e-3)


def test_a_distance_takes_the_nearest_image(opened, folder):
    hydrogen = Atoms(
        "H2", [[0.2, 0, 0], [4.9, 0, 5]], cell=[[5, 0, 0], [2, 5, 0], [0, 0, 5]], pbc=True
    )
    write("h.extxyz", hydrogen)
    page = opened("h.extxyz")
    page.locator(".measure input").fill("0 1")
    page.locator(".measure input").press("Enter")
    assert page.locator(".measure .figure").inner_text() == "Distance: 0.300 Å"


def test_a_click_on_an_atom_picks_it(opened, folder):
    write("co2.extxyz", molecule("CO2"))  # carbon, the first, lies in the middle
    page = opened("co2.extxyz")
    page.locator(".stage").click()
    assert page.locator(".measure input").input_value() == "0"
    page.locator(".stage").click()
    assert page.locator(".measure input").input_value() == ""


def test_forces_color_the_atoms(opened, dynamics):
    page = opened(dynamics())
    before = picture(page)
    page.get_by_label("Color").select_option("Force")
    assert (np.abs(picture(page) - before).max(axis=-1) > 0.2).mean() > 0.01
    assert page.locator(".viewer .legend").inner_text().endswith("eV/Å")


def test_a_periodic_structure_has_its_cell_and_repeats(opened, folder):
    write("x.extxyz", molecule("CH4", cell=[6, 7, 8], pbc=True))
    page = opened("x.extxyz")
    assert page.get_by_label("Cells").input_value() == "1"
    before = picture(page)
    page.get_by_label("Cells").select_option("2")
    assert (np.abs(picture(page) - before).max(axis=-1) > 0.1).mean() > 0.01


def test_a_crystal_of_two_atoms_is_shown_repeated(opened, folder):
    write("diamond.cif", bulk("C"))
    page = opened("diamond.cif")
    assert page.get_by_label("Cells").input_value() == "2"
    assert page.locator(".kind").inner_text() == "Structure"


def test_runs_with_nothing_in_common_open_with_the_first(opened, dynamics, structures):
    page = opened(dynamics(), "relax.jsonl")
    assert page.locator("h1").inner_text() == "ethanol-md"
    page.get_by_role("button", name="Comparison").click()
    assert page.locator("tbody tr").count() == 2


def test_the_table_sorts_and_filters(opened, structures):
    page = opened("relax.jsonl")
    assert names(page) == ["H2O.xyz", "CH4.xyz", "CH3CH2OH.xyz", "CH3OCH3.xyz"]
    energy = page.locator("th[data-key=energy_eV]")
    energy.get_by_role("button").click()
    assert names(page) == ["CH3OCH3.xyz", "CH3CH2OH.xyz", "CH4.xyz", "H2O.xyz"]
    assert energy.get_attribute("aria-sort") == "ascending"
    energy.get_by_role("button").click()
    assert names(page)[0] == "H2O.xyz"
    page.get_by_label("Find").fill("c2h6o")
    assert names(page) == ["CH3CH2OH.xyz", "CH3OCH3.xyz"]
    page.get_by_label("Outcome").select_option("no")
    assert names(page) == ["CH3CH2OH.xyz"]
    assert page.get_by_role("status").inner_text() == "1 of 4"


def test_a_row_shows_its_structure_and_drawing(opened, structures):
    page = opened("relax.jsonl")
    before = picture(page)
    page.get_by_role("button", name="CH3OCH3.xyz").click()
    assert page.locator(".viewer h3").inner_text() == "CH3OCH3.xyz"
    assert (np.abs(picture(page) - before).max(axis=-1) > 0.2).mean() > 0.01
    drawn = page.eval_on_selector_all(".thumbnail", f"all => all.map({INKED})")
    assert len(drawn) == 4
    assert min(drawn) > 100


def test_two_runs_are_laid_over_each_other(opened, dynamics):
    first, second = dynamics("a"), dynamics("b", seed=2)
    page = opened(first, second)
    assert page.locator("h1").inner_text() == "a-md · b-md"
    assert page.locator("[data-key=potential_eV] .line").count() == 2
    pixels = picture(page)
    assert (pixels[..., 2] > pixels[..., 0] + 0.2).sum() > 100  # blue, the first run
    assert (pixels[..., 0] > pixels[..., 2] + 0.2).sum() > 100  # orange, the second
    page.get_by_role("button", name="b-md").first.click()
    assert page.locator("h1").inner_text() == "b-md"


def test_structures_of_two_tables_are_laid_over_each_other(opened, structures):
    shutil.copytree(".", "../again", dirs_exist_ok=True)
    page = opened("relax.jsonl", "../again")
    assert page.locator("tbody .name").count() == 4
    before = picture(page)
    page.get_by_role("button", name="CH3OCH3.xyz").click()
    assert page.locator(".viewer h3").inner_text() == "CH3OCH3.xyz"
    assert (np.abs(picture(page) - before).max(axis=-1) > 0.2).mean() > 0.005


def test_hostile_names_are_text(opened, structures):
    table = Path("relax.jsonl")
    table.write_text(table.read_text().replace("CH4.xyz", "</script><b>bold</b>"))
    page = opened("relax.jsonl")
    assert "</script><b>bold</b>" in names(page)
    assert page.locator("main b").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_narrow_pages_fit_and_follow_the_scheme(scheme, opened, dynamics):
    page = opened(dynamics(), width=400, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    back = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(back)
    assert (before == "rgb(20, 22, 26)") == (scheme == "dark")
    page.locator("#theme").click()
    assert page.evaluate(back) != before
    drawn(page)
    assert page.locator(".plots .line").count() == 4


def test_a_force_of_zero_is_compared(opened, folder):
    for name, forces in (("a", (2.0, 0.1)), ("b", (1.0, 0.0))):
        frames = [molecule("H2O") for _ in forces]
        for atoms, force in zip(frames, forces, strict=True):
            atoms.calc = SinglePointCalculator(atoms, energy=force, forces=np.full((3, 3), force))
        write(f"{name}-relax.traj", frames)
    page = opened("a-relax", "b-relax")
    assert page.locator("[data-key=max_force] .line").count() == 2


def test_flat_molecules_show_their_face(opened, folder):
    names = ["C2H4", "H2CO"]  # in the plane of two axes
    frames = [molecule(name) for name in names]
    for name, atoms in zip(names, frames, strict=True):
        atoms.info["input"] = name
    write("flat.extxyz", frames)
    page = opened("flat.extxyz")
    tall = (
        "c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let y = 0; y < c.height; y++) {"
        "if (d.subarray(4 * y * c.width, 4 * (y + 1) * c.width).some(x => x)) n++; } return n; }"
    )
    heights = page.eval_on_selector_all(".thumbnail", f"all => all.map({tall})")
    assert min(heights) > 15  # of 52; 9 from the side


def colors(page, selector):
    return page.eval_on_selector_all(
        selector, "all => all.map(i => getComputedStyle(i).background)"
    )


def test_ten_runs_have_ten_colors(opened, dynamics):
    page = opened(*(dynamics(f"x{k}", n_frames=3, seed=k) for k in range(10)))
    keys = colors(page, "tbody .key i")
    assert len(set(keys)) == 10
    assert colors(page, "[data-key=temperature_K] .key i") == keys


def test_a_run_has_one_color_wherever_it_is(opened, dynamics, structures):
    page = opened(dynamics("a"), "relax.jsonl", dynamics("b"))
    first, _, third = colors(page, "tbody .key i")
    assert colors(page, "[data-key=temperature_K] .key i") == [first, third]


def test_atoms_without_bonds_are_seen_among_many(opened, folder):
    places = 5.0 * np.indices((8, 8, 8)).reshape(3, -1).T
    write("gas.extxyz", Atoms("O512", positions=places, cell=[40, 40, 40], pbc=True))
    page = opened("gas.extxyz")
    assert page.get_by_label("Style").input_value() == "sticks"
    pixels = picture(page)
    assert ((pixels[..., 0] > 0.5) & (pixels[..., 1] < 0.35)).sum() > 500


def test_a_relaxation_has_whole_steps_and_no_negative_zero(opened, folder):
    frames = [molecule("H2O") for _ in range(3)]
    for atoms, energy in zip(frames, (2.0, 1.0, -1e-7), strict=True):
        atoms.calc = SinglePointCalculator(atoms, energy=energy)
    write("a-relax.traj", frames)
    plot = opened("a-relax").locator("[data-key=potential_eV]")
    assert plot.locator("text[text-anchor=middle]").all_text_contents() == ["0", "1"]
    assert plot.locator(".value").inner_text() == "0.00 eV"


@pytest.mark.parametrize("pbc", [(True, True, True), (True, True, False), (False, False, True)])
def test_distances_are_to_the_nearest_image_in_a_cell_however_skewed(chromium, pbc):
    cell = np.array([[4.0, 0, 0], [18.0, 5.0, 0], [9.0, -14.0, 6.0]])
    vectors = np.random.default_rng(7).uniform(-6, 6, (30, 3))
    reach = [range(-n, n + 1) if p else [0] for n, p in zip((60, 14, 4), pbc, strict=True)]
    shifts = np.array(list(itertools.product(*reach))) @ cell
    shortest = [np.linalg.norm(vector + shifts, axis=1).min() for vector in vectors]
    measure = "vectors.map(v => measured([0, 0, 0, ...v], [0, 1], new Lattice(cell, pbc)))"
    script = f"([vectors, cell, pbc]) => {{ {GEOMETRY.read_text()}; return {measure}; }}"
    found = chromium.new_page().evaluate(script, [vectors.tolist(), cell.ravel().tolist(), pbc])
    assert found == pytest.approx(shortest)
