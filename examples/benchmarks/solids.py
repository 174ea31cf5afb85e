"""Crystals of a model for metals against the DFT of its set: lattice, elasticity, defects.

The references come out of the set itself (``--data``: the files that ``split_data.py metals``
writes): lattice and elastic constants from a fit to the stress of its strained crystals, for the
model to its stress of the same crystals; surfaces from its slabs. Where there are crystals of
``strained_metals.py`` (strained-Cu.extxyz), these are taken for lattice and elastic constants: the
set has no stress of copper and nickel to learn from, that of the few to test on contradicts the
energies, and so do the shear stresses of lithium. The set's vacancies are all thermal:
the formation energy of the relaxed one, at the set's lattice constant, is the model's less the mean
error of the model over the thermal ones, and has that mean's standard error.

    python solids.py --model models/metals --data FOLDER/splits [--elements Cu Mo] [--out F.json]
"""

from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from harness.crystals import LATTICES, Found, crystal, load
from harness.elasticity import elastic_constants, fit, fit_energies, lattice
from harness.findings import options, write_findings

from tdncalc import RelaxSettings, TDNCalculator, relax

JOULE_PER_M2 = units.kJ / 1000 / units.m**2
REPEATS = {"fcc": 3, "bcc": 3, "diamond": 2}  # of the conventional cell, for vacancies
ALLOYED = ("Nb", "Mo", "Ta", "W")  # of the set MoNbTaW; vacancies are only in mlearn
COLUMNS = ("a", "B", "C11", "C12", "C44")


def references(found: Found, crystals: list[Atoms]) -> dict[str, float]:
    """Return lattice constant (Å) and elastic constants (GPa) of the labels."""
    by_stress = fit(crystals, found.reference)
    a, c11, c44 = fit_energies(found.strained, found.reference, by_stress.B)
    by_energy = {"a_energies": a, "C11_energies": c11, "C44_energies": c44}
    return vars(by_stress) | by_energy


def fitted(found: Found, crystals: list[Atoms], model: Calculator) -> dict[str, float]:
    """Return the same of the model's stress of the same crystals."""
    computed = []
    for atoms in crystals:
        copy = atoms.copy()
        copy.calc = SinglePointCalculator(copy, stress=model.get_stress(copy))
        computed.append(copy)
    return vars(fit(computed, found.reference))


def with_stress(found: Found, folder: Path, element: str) -> list[Atoms]:
    """Return the crystals whose stress says what the elastic constants are."""
    path = folder / f"strained-{element}.extxyz"
    if path.exists():
        return list(read(path, ":"))
    return [atoms for atoms in found.strained if "stress" in atoms.calc.results]


def at_small_strain(element: str, a: float, model: Calculator) -> dict[str, float]:
    """Return those of a model at its own lattice constant, and C44 with relaxed atoms."""
    found, B = lattice(crystal(element, a), model)
    c11, c12, c44 = elastic_constants(found, model, relaxed=False)
    relaxed = elastic_constants(found, model, relaxed=True)[2]
    edge = float(found.cell[0, 0])
    return {"a": edge, "B": B, "C11": c11, "C12": c12, "C44": c44, "C44_relaxed": relaxed}


def vacancy(element: str, a: float, model: Calculator) -> float:
    """Return the formation energy in eV of a relaxed vacancy in a cell of fixed volume."""
    whole = crystal(element, a, REPEATS[LATTICES[element]])
    rest = whole.copy()
    del rest[0]
    rest.rattle(0.02, seed=1)  # off the symmetric place, which may be a saddle point
    relaxed = relax(rest, calculator=model, settings=RelaxSettings(fmax=0.005, steps=500))
    perfect = model.get_potential_energy(whole) / len(whole)
    return float(relaxed.energy - len(rest) * perfect)


def vacancy_error(found: Found, model: Calculator) -> tuple[float, float]:
    """Return the model's error of the formation energy in thermal structures (eV), and its error.

    Mean of (model − DFT) over the vacancies, less that over as many atoms of crystals with like
    forces, which are as hot.
    """
    hot = [_force(atoms) for atoms in found.vacancies]
    like = [atoms for atoms in found.thermal if min(hot) <= _force(atoms) <= max(hot)]
    number = len(found.vacancies[0])
    with_hole = np.array([_error(atoms, model) for atoms in found.vacancies])
    without = np.array([_error(atoms, model) * number / len(atoms) for atoms in like])
    spread = np.hypot(*(errors.std(ddof=1) / len(errors) ** 0.5 for errors in (with_hole, without)))
    return float(with_hole.mean() - without.mean()), float(spread)


def _force(atoms: Atoms) -> float:
    return float(np.sqrt((atoms.get_forces() ** 2).mean()))


def _error(atoms: Atoms, model: Calculator) -> float:
    return float(model.get_potential_energy(atoms.copy()) - atoms.get_potential_energy())


def surfaces(found: Found, model: Calculator) -> tuple[list[float], list[float]]:
    """Return the surface energies in J/m² of the set's slabs, of the model and of DFT."""

    def of_model(atoms: Atoms) -> float:
        return float(model.get_potential_energy(atoms.copy()))

    unstrained = min(found.strained, key=_distortion)
    columns = []
    for energy in (of_model, Atoms.get_potential_energy):
        per_atom = energy(unstrained) / len(unstrained)
        columns.append([(energy(x) - len(x) * per_atom) / _area(x) for x in found.slabs])
    ours, true = (np.array(column) / JOULE_PER_M2 for column in columns)
    return ours.tolist(), true.tolist()


def _distortion(atoms: Atoms) -> float:
    """Return how far a cell is from a cube."""
    lengths, angles = np.split(atoms.cell.cellpar(), 2)
    return float(np.ptp(lengths) / lengths.mean() + np.abs(angles - 90).sum() / 90)


def _area(slab: Atoms) -> float:
    """Return the area in Å² of both sides of a slab: the longest edge leads into the vacuum."""
    one, other = slab.cell.array[np.argsort(slab.cell.lengths())[:2]]
    return float(2 * np.linalg.norm(np.cross(one, other)))


def compare(element: str, folder: Path, model: Calculator) -> dict[str, Any]:
    """Return all figures of an element."""
    found = load(folder, element, "MoNbTaW" if element in ALLOYED else f"mlearn-{element}")
    crystals = with_stress(found, folder, element)
    true = references(found, crystals)
    ours, small = fitted(found, crystals, model), at_small_strain(element, true["a"], model)
    case = {"element": element, "true": true, "model": ours, "model_small_strain": small}
    case["percent"] = {name: 100 * (ours[name] / true[name] - 1) for name in COLUMNS}
    energy = vacancy(element, true["a"], model)
    case["vacancy_eV"] = {"model": energy}
    if (folder / f"mlearn-{element}-train.extxyz").exists():
        error, spread = vacancy_error(load(folder, element, f"mlearn-{element}"), model)
        case["vacancy_eV"] |= {"true": energy - error, "uncertainty": spread}
        case["percent"]["vacancy"] = 100 * error / (energy - error)
    slabs = surfaces(found, model)
    case["surfaces_J_per_m2"] = dict(zip(("model", "true"), slabs, strict=True))
    case["surface_MAE_J_per_m2"] = float(np.abs(np.subtract(*slabs)).mean())
    return case


def row(case: dict[str, Any]) -> str:
    """Return an element as a row of the table: model, and its error in percent in brackets."""
    cells = [
        f"{case['model'][name]:.{3 if name == 'a' else 1}f} ({case['percent'][name]:+.1f})"
        for name in COLUMNS
    ]
    hole, percent = case["vacancy_eV"], case["percent"].get("vacancy")
    cells.append(f"{hole['model']:.2f}" + ("" if percent is None else f" ({percent:+.1f})"))
    mean = np.mean(case["surfaces_J_per_m2"]["true"])
    cells.append(f"{case['surface_MAE_J_per_m2']:.3f} of {mean:.2f}")
    return f"| {case['element']} | " + " | ".join(cells) + " |"


def summary(cases: list[dict[str, Any]]) -> dict[str, float]:
    """Return mean and largest errors over the elements."""
    found: dict[str, float] = {"elements": len(cases)}
    for name in (*COLUMNS, "vacancy"):
        errors = [abs(c["percent"][name]) for c in cases if name in c["percent"]]
        if errors:
            found[f"{name}_mean_percent"] = float(np.mean(errors))
            found[f"{name}_largest_percent"] = float(np.max(errors))
    found["surface_MAE_J_per_m2"] = float(np.mean([c["surface_MAE_J_per_m2"] for c in cases]))
    return found


def main() -> None:
    """Compare all elements, and print a table."""
    parser = options(__doc__.splitlines()[0], sample=len(LATTICES), kept=False)
    parser.add_argument("--data", type=Path, required=True, help="files of split_data.py metals")
    parser.add_argument("--elements", nargs="+", default=list(LATTICES))
    args = parser.parse_args()
    model = TDNCalculator(args.model)
    print(
        "| | a (Å) | B (GPa) | C11 | C12 | C44, atoms held | vacancy (eV) |"
        " surfaces, MAE of mean (J/m²) |\n| --- |" + " ---: |" * 7
    )
    cases = []
    for element in args.elements[: args.sample]:
        cases.append(compare(element, args.data, model))
        print(row(cases[-1]), flush=True)
    found = {"summary": summary(cases), "cases": cases}
    write_findings(args.out, "solids", args.model, found)


if __name__ == "__main__":
    main()
