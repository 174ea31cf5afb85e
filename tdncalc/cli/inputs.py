"""The structures of a command line: those that cannot be used are told of and passed over."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from numbers import Real
from pathlib import Path

from tdncalc.cli.failures import complain, one_line, warn
from tdncalc.cli.outputs import is_result
from tdncalc.errors import StructureError, TDNError
from tdncalc.patterns import expand
from tdncalc.structures import Source, read_inputs

_CHARGES = ("charge", "total_charge")  # as files call that of a whole structure


class Inputs:
    """Structures one by one, as they are read.

    Parameters
    ----------
    specs
        What the user typed: files, ``FILE@INDEX``, patterns of them, folders, ``-``.
    result
        The file of results, which is no input though it lie in a folder or match a pattern.

    Attributes
    ----------
    specs
        As given.
    names
        The same, with the files of a pattern in its place.
    failed
        What could not be used, in one line each.
    """

    def __init__(self, specs: Sequence[str], result: Path | None = None) -> None:
        self.specs = specs
        # What was there before and is no result is refused, and not left out.
        self._result = None if result and result.is_file() and not is_result(result) else result
        self.names = [name for spec in specs for name in _without(expand(spec), self._result)]
        self._sources = self._read()
        self.failed: list[str] = []

    def __iter__(self) -> Iterator[Source]:
        return self._sources

    def only(self) -> Source | None:
        """Give the structure if the user means just one, without taking it away."""
        if len(self.names) > 1 or Path(self.names[0]).is_dir():
            return None
        first = self._peek(2)
        return first[0] if len(first) == 1 and not self.failed else None

    def any(self) -> bool:
        """Whether there is a structure left that can be read."""
        return bool(self._peek(1))

    def pass_over(self, error: TDNError) -> None:
        """Tell of a structure that cannot be used, and remember it."""
        complain(str(error))
        self.failed.append(one_line(str(error)))

    def _peek(self, count: int) -> list[Source]:
        first = list(itertools.islice(self._sources, count))
        self._sources = itertools.chain(first, self._sources)
        return first

    def _read(self) -> Iterator[Source]:
        sources = read_inputs(self.names, stdin=sys.stdin, left_out=self._result)
        while True:
            try:
                source = next(sources)
            except StopIteration:
                return
            except StructureError as error:
                self.pass_over(error)
                continue
            _warn_of_charge(source)
            yield source


def _without(names: list[str], result: Path | None) -> list[str]:
    """Return the names of several files but for that of results."""
    if result is None or len(names) == 1:
        return names
    return [name for name in names if not _means(name, result)]


def _means(name: str, result: Path) -> bool:
    """Tell whether a name, with or without ``@INDEX``, is that of a file."""
    if result.name not in name:  # soon told of a million names
        return False
    return result.resolve() in (Path(name).resolve(), Path(name.rpartition("@")[0]).resolve())


def read_one(spec: str) -> Source:
    """Read the one structure that a command works on.

    Raises
    ------
    StructureError
        It cannot be used, or there are several.
    """
    names = expand(spec)
    first = list(itertools.islice(read_inputs(names, stdin=sys.stdin), 2))
    if len(names) > 1 or len(first) > 1:
        several = len(names) > 1 or Path(spec).is_dir()
        hint = "give one of its files" if several else f"pick one, like {names[0]}@-1"
        raise StructureError(f"{spec}: holds several structures; {hint}")
    _warn_of_charge(first[0])
    return first[0]


def _warn_of_charge(source: Source) -> None:
    """Tell of a charge in a file: no model has an input for it."""
    atoms = source.atoms
    stated = [atoms.info[name] for name in _CHARGES if name in atoms.info]
    for charge in stated or [atoms.get_initial_charges().sum()]:
        # Partial charges may not sum to 0.
        if isinstance(charge, Real) and abs(float(charge)) > 0.5:
            ignored = f"its charge of {charge:+g} is ignored"
            warn(f"{source.label}: {ignored}; models have no input for it")
            return
