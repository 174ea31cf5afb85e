"""How unlike its training set a model finds the surroundings of an atom."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import Tensor

from tdncalc.errors import DamagedModelError

__all__ = ["FILE", "RANK", "Novelty", "described", "read_novelty"]

FILE = "novelty.safetensors"
_FORMAT = 1
RANK = 32  # axes of the distance; the compiled kernel has it too
_WRONG = {
    "format": "in a format that this version does not read",
    "sha256": "damaged, its checksum is not the card's",
    "weights_sha256": "made for other weights than the model has",
}
_NAMES = ("axes", "offsets", "floors")


@dataclass(frozen=True)
class Novelty:
    r"""A distance from the training set, for each atom, in units of its outermost environments.

    With the invariant features x of an atom of element e it is

    .. math:: n = \sqrt{|x A_e - b_e|^2 + f_e}.

    Above 1 lie 0.5 % of the environments of the training set, or so few that nine of ten structures
    of its mean size have none, and of no element more than 1 %. An element that the training set
    lacks has 1000.
    How it is fitted is in :mod:`tdncalc.training.novelty`.

    Attributes
    ----------
    axes
        A, (n_elements, F, RANK) float32, for F features.
    offsets
        b, (n_elements, RANK) float32.
    floors
        f, (n_elements,) float32.
    """

    axes: Tensor
    offsets: Tensor
    floors: Tensor

    def of(self, descriptors: Tensor, elements: Tensor) -> Tensor:
        """Return the novelty of atoms, (N,) float64, given features (N, F) and elements (N,)."""
        if descriptors.is_cuda:
            return self.of_any(descriptors, elements)
        novelties = descriptors.new_zeros(len(elements), dtype=torch.float64)
        for element in torch.unique(elements).tolist():
            atoms = (elements == element).nonzero()[:, 0]
            place = descriptors.index_select(0, atoms).double()
            place = place @ self.axes[element].to(place) - self.offsets[element].to(place)
            squares = place.square().sum(1) + self.floors[element].to(place)
            novelties = novelties.index_copy(0, atoms, squares.sqrt())
        return novelties

    def of_any(self, descriptors: Tensor, elements: Tensor) -> Tensor:
        """Return the same as :meth:`of` without asking which elements there are.

        More is computed, but nothing waits for a GPU.
        """
        axes = self.axes.double().transpose(0, 1).flatten(1)  # (F, n_elements · RANK)
        places = (descriptors.double() @ axes).unflatten(1, self.offsets.shape) - self.offsets
        squares = places.square().sum(2) + self.floors  # (N, n_elements)
        novelties: Tensor = squares.gather(1, elements[:, None])[:, 0].sqrt()
        return novelties

    def to(self, device: torch.device) -> "Novelty":
        """Return the same on a device."""
        return Novelty(*(getattr(self, name).to(device) for name in _NAMES))

    def tables(self) -> Tensor:
        """Return axes, offsets and floor of one element after another, as the kernel reads them."""
        parts = (self.axes.flatten(1), self.offsets, self.floors[:, None])
        return torch.cat(parts, dim=1).cpu().contiguous()

    def dump(self) -> bytes:
        """Return the tensors as safetensors."""
        return dump_tensors({name: getattr(self, name).contiguous() for name in _NAMES})


def described(data: bytes, card: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card of a model says of the file of its novelty, to be checked again."""
    sha256 = hashlib.sha256(data).hexdigest()
    return {"format": _FORMAT, "sha256": sha256, "weights_sha256": card["sha256"]}


def read_novelty(folder: Path, card: Mapping[str, Any], n_features: int) -> Novelty | None:
    """Read the novelty of a model with so many features; None if its card has none.

    Raises
    ------
    DamagedModelError
        The file is missing, damaged, or made for other weights.
    """
    if "novelty" not in card:
        return None
    path = folder / FILE
    remedy = "install the model again, or make it anew by 'tdn models calibrate'"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedModelError(f"{path}: cannot be read ({error.strerror}); {remedy}") from error
    for name, found in described(data, card).items():
        if card["novelty"].get(name) != found:
            raise DamagedModelError(f"{path}: {_WRONG[name]}; {remedy}")
    return _parse(data, len(card["elements"]), n_features, f"{path}", remedy)


def _parse(data: bytes, n_elements: int, n_features: int, label: str, remedy: str) -> Novelty:
    try:
        tensors = load_tensors(data)
    except SafetensorError as error:
        raise DamagedModelError(f"{label}: not a safetensors file ({error})") from error
    expected = {
        "axes": (n_elements, n_features, RANK),
        "offsets": (n_elements, RANK),
        "floors": (n_elements,),
    }
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != expected or any(t.dtype != torch.float32 for t in tensors.values()):
        raise DamagedModelError(f"{label}: not of this network; {remedy}")
    return Novelty(**tensors)
