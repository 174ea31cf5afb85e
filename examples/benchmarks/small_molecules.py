"""Where the bundled model ends: the molecules of the G2 set, and bare pairs of atoms that collide.

Compares forces on closed-shell G2 molecules, shaken by 0.03 Å, with GFN2-xTB, and tells how many
pairs of elements attract below their training distances, and how near. Needs ``tblite``.

    python small_molecules.py
"""

import itertools

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.data import atomic_numbers, covalent_radii
from tblite.ase import TBLite

from tdncalc import Potential, load_model


def g2_errors(potential: Potential) -> dict[str, float]:
    """Return the mean absolute error of the force components in eV/Å by molecule."""
    errors = {}
    for name in g2.names:
        atoms = molecule(name)
        known = set(atoms.symbols) <= set(potential.elements)
        if len(atoms) < 2 or not known or atoms.get_initial_magnetic_moments().any():
            continue
        atoms.rattle(0.03, seed=1)
        forces = potential.evaluate([atoms], properties=("forces",))[0]["forces"]
        atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
        errors[name] = float(np.abs(forces - atoms.get_forces()).mean())
    return errors


def pulled(potential: Potential, one: str, other: str) -> np.ndarray:
    """Return where a bare pair attracts below its training distances, in sums of radii."""
    elements = potential.elements
    seen = potential.network.repulsion.shortest[elements.index(one), elements.index(other)]
    bond = sum(covalent_radii[atomic_numbers[symbol]] for symbol in (one, other))
    fractions = np.arange(0.05, 1.1, 0.025)
    pairs = [Atoms([one, other], [[0, 0, 0], [0, 0, f * bond]]) for f in fractions]
    results = potential.evaluate(pairs, properties=("forces",))
    pull = np.array([result["forces"][0, 2] for result in results])
    return fractions[(pull > 0) & (fractions * bond < float(seen))]


def main() -> None:
    """Print both."""
    potential = load_model("organic", dtype="float64")
    errors = g2_errors(potential)
    wrong = {name: error for name, error in errors.items() if error > 0.2}
    print(f"{len(errors)} G2 molecules: median force MAE {np.median([*errors.values()]):.3f} eV/Å")
    print(f"{len(wrong)} above 0.2 eV/Å, of at most {max(len(molecule(n)) for n in wrong)} atoms:")
    print("  " + ", ".join(f"{name} {error:.1f}" for name, error in wrong.items()))
    couples = list(itertools.combinations_with_replacement(potential.elements, 2))
    lowest = {(a, b): places.min() for a, b in couples if len(places := pulled(potential, a, b))}
    print(f"{len(couples)} pairs of elements, {len(lowest)} attract below training distances")
    for (a, b), place in lowest.items():
        print(f"  {a}-{b} at {place:.2f} of the sum of covalent radii and perhaps above")


if __name__ == "__main__":
    main()
