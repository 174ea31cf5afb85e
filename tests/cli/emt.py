"""The command line with ASE's EMT in the place of a model: ``python emt.py SECONDS ARGUMENTS``."""

import sys
import time

from ase.calculators.emt import EMT, parameters

from tdncalc.cli import session
from tdncalc.cli.main import main


class CPU:
    type = "cpu"

    def __str__(self):
        return "cpu"


class EMTPotential:
    name = "emt"
    elements = tuple(parameters)
    cutoff = 5.0
    direct_forces = False
    novelty = None
    device = CPU()
    dtype = "torch.float64"
    evaluation = "eager"
    compiling = False
    dispersion = None

    def __init__(self, seconds=0.0):
        self.card = {"sha256": "e" * 64}
        self.seconds = seconds
        self.identity = {"name": self.name, **self.card}

    def settle(self, *, wait):
        assert isinstance(wait, bool)

    def evaluate(self, structures, *, properties=("energy", "forces", "stress")):
        return [self._one(atoms.copy(), properties) for atoms in structures]

    def _one(self, atoms, properties):
        atoms.calc = SlowEMT(self.seconds)
        rank = atoms.cell.rank
        return {
            name: atoms.calc.get_property(name, atoms)
            for name in properties
            if name != "stress" or rank == 3
        }


class SlowEMT(EMT):
    """EMT that takes a while, so that a signal finds it at work."""

    def __init__(self, seconds=0.0):
        super().__init__()
        self.seconds = seconds
        self.potential = EMTPotential(seconds)
        self.model_identity = dict(self.potential.identity)

    def calculate(self, *args, **kwargs):
        time.sleep(self.seconds)
        super().calculate(*args, **kwargs)


if __name__ == "__main__":
    seconds = float(sys.argv[1])
    session.load_calculator = lambda options: SlowEMT(seconds)
    session.provenance = lambda potential: {}  # the true one imports torch, which takes seconds
    sys.exit(main(sys.argv[2:]))
