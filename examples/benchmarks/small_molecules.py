"""Where a model ends: the molecules of the G2 set, and bare pairs of atoms that collide.

Compares forces on closed-shell G2 molecules, shaken by 0.03 Å, with GFN2-xTB, and tells how many
pairs of elements attract below their training distances, where, and by how much. Needs ``tblite``.

    python small_molecules.py [--model organic]
"""

import argparse
import itertools

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.collections import g2
from ase.data import atomic_numbers, covalent_radii
from tblite.ase import TBLite

from tdncalc import Potential, load_model

LEAST = 0.01  # eV, of a pocket


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


def pocket(potential: Potential, one: str, other: str) -> tuple[float, float]:
    """Return the pocket of a bare pair below its training distances: where, and how deep.

    In sums of radii and eV: what the energy rises from there outward, the most.
    """
    elements = potential.elements
    seen = potential.network.repulsion.shortest[elements.index(one), elements.index(other)]
    bond = sum(covalent_radii[atomic_numbers[symbol]] for symbol in (one, other))
    fractions = np.arange(0.05, float(seen) / bond, 0.005)
    pairs = [Atoms([one, other], [[0, 0, 0], [0, 0, f * bond]]) for f in fractions]
    energies = np.array([result["energy"] for result in potential.evaluate(pairs)])
    rise = np.maximum.accumulate(energies[::-1])[::-1] - energies
    return float(fractions[rise.argmax()]), float(rise.max())


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="organic")
    potential = load_model(parser.parse_args().model, dtype="float64")
    errors = g2_errors(potential)
    wrong = {name: error for name, error in errors.items() if error > 0.2}
    print(f"{len(errors)} G2 molecules: median force MAE {np.median([*errors.values()]):.3f} eV/Å")
    print(f"{len(wrong)} above 0.2 eV/Å: {', '.join(f'{n} {e:.1f}' for n, e in wrong.items())}")
    couples = list(itertools.combinations_with_replacement(potential.elements, 2))
    pockets = {couple: pocket(potential, *couple) for couple in couples}
    found = {couple: at for couple, at in pockets.items() if at[1] > LEAST}
    print(f"{len(couples)} pairs of elements, {len(found)} attract below training distances")
    for (one, other), (place, depth) in found.items():
        print(f"  {one}-{other}: {depth:.2f} eV at {place:.2f} of the sum of covalent radii")


if __name__ == "__main__":
    main()
