"""How far a training run has come, and how well it does."""

from dataclasses import dataclass

__all__ = ["Meter", "Progress"]


@dataclass(frozen=True)
class Progress:
    """What an observer is told after every step; errors are means since the last validation.

    Attributes
    ----------
    step, steps
        Done and to do.
    seconds
        Time spent on the steps, earlier starts included.
    atoms_per_second
        Throughput of this start.
    energy_error, forces_error
        Mean absolute errors on training batches, meV/atom and meV/Å.
    validation
        The newest row of the log, if there is one.
    """

    step: int
    steps: int
    seconds: float
    atoms_per_second: float
    energy_error: float
    forces_error: float
    validation: dict[str, float] | None


class Meter:
    """Running means of training errors, and throughput."""

    def __init__(self) -> None:
        self.atoms, self.seconds = 0, 0.0
        self._sums, self._n_structures, self._n_atoms = [0.0, 0.0], 0, 0
        self._old = False

    def forget_errors(self) -> None:
        """Begin new means with the next step; until then the last ones stay."""
        self._old = True

    def add(
        self, n_atoms: int, n_structures: int, errors: tuple[float, float], seconds: float
    ) -> None:
        """Add a step: sizes of its batch, its errors in eV/atom and eV/Å, and its time."""
        if self._old:
            self._sums, self._n_structures, self._n_atoms, self._old = [0.0, 0.0], 0, 0, False
        self.atoms += n_atoms
        self.seconds += seconds
        self._n_structures += n_structures
        self._n_atoms += n_atoms
        self._sums[0] += errors[0] * n_structures
        self._sums[1] += errors[1] * n_atoms

    def rate(self) -> float:
        """Return the throughput in atoms per second."""
        return self.atoms / self.seconds if self.seconds else 0.0

    def energy_error(self) -> float:
        """Return the mean absolute error of the energy in eV/atom."""
        return self._sums[0] / max(self._n_structures, 1)

    def forces_error(self) -> float:
        """Return the mean absolute error of force components in eV/Å."""
        return self._sums[1] / max(self._n_atoms, 1)
