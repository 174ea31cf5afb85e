"""One training step: the loss of a batch and its gradients by the parameters, eager or compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from tdncalc.architectures import Network, traits
from tdncalc.errors import ConfigError
from tdncalc.fused.fusing import fuse
from tdncalc.native.training import TrainedNetwork, training_kernel
from tdncalc.published.network import PublishedTDN
from tdncalc.tdn import TDN
from tdncalc.training.levels import Levels
from tdncalc.training.tracing import CompiledStep

__all__ = ["Batch", "LossWeights", "StepResult", "make_step"]


@dataclass(frozen=True)
class Batch:
    """B structures with N atoms and E edges, as the loss needs them.

    Attributes
    ----------
    elements
        Element indices, (N,) int64.
    edge_index
        [source j, target i], (2, E) int64.
    vectors
        From target to source in Å, (E, 3).
    structure
        The structure each atom belongs to, (N,) int64.
    n_atoms
        Atoms of each structure, (B,), floating.
    energy
        Interaction energy (reference energies taken off) in eV, (B,).
    forces
        eV/Å, (N, 3).
    strain_gradient
        V σ in eV, (B, 3, 3).
    has_stress
        1 where the stress is known, else 0, (B,).
    level
        Which set's reference level the energy has, (B,) int64.
    """

    elements: Tensor
    edge_index: Tensor
    vectors: Tensor
    structure: Tensor
    n_atoms: Tensor
    energy: Tensor
    forces: Tensor
    strain_gradient: Tensor
    has_stress: Tensor
    level: Tensor

    def tensors(self) -> list[Tensor]:
        """Return the fields in order."""
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class LossWeights:
    """How much each error counts, and where the Huber loss turns linear.

    Attributes
    ----------
    energy
        Weight of the energy error per atom in eV.
    forces
        Weight of the length of the force error in eV/Å.
    stress
        Weight of the strain gradient's error per atom in eV; 0 leaves it out of the graph.
    huber_delta, energy_huber_delta
        Errors larger than this (in the units above) count linearly, smaller ones by their square;
        the second is for the energy.
    """

    energy: float = 1.0
    forces: float = 1.0
    stress: float = 0.0
    huber_delta: float = 0.01
    energy_huber_delta: float = 0.01


@dataclass(frozen=True)
class StepResult:
    """The loss, mean absolute errors of a batch, and the gradients by the parameters.

    Attributes
    ----------
    loss
        What is descended.
    energy_error, forces_error
        In eV/atom and, of force components, eV/Å.
    virial_error
        Of the components of V σ of the structures with a stress, in eV/atom; 0 where stress has no
        weight or no structure has one.
    gradients
        Of the loss by the network's parameters, then by those of the levels.
    """

    loss: Tensor
    energy_error: Tensor
    forces_error: Tensor
    virial_error: Tensor
    gradients: list[Tensor]


Step = Callable[[Sequence[Tensor], Batch, Tensor], StepResult]


def make_step(
    network: Network, weights: LossWeights, *, compiled: bool, levels: Levels | None = None
) -> Step:
    """Return a function of (parameters, batch, balance) that gives loss and gradients.

    The parameters are those of the network and then, if given, those of the levels of several sets.
    The balance (2,) multiplies the errors of energies and of forces, beside their weights.

    The compiled one is the kernel of :mod:`tdncalc.native.training`. Where that cannot be, loss and
    gradients are traced together once, with symbolic sizes, and inductor compiles the graph:
    batches of any size run without recompilation. Eager is the reference of both.
    """
    kernel = training_kernel(network) if compiled and isinstance(network, TDN) else None
    if kernel is None and compiled and isinstance(network, TDN):
        network = fuse(network)
    outputs = _Outputs(kernel or network, levels)
    if outputs.direct and weights.stress:
        raise ConfigError("direct forces have no stress; remove stress_weight")
    names = [name for name, _ in outputs.named_parameters()]

    def step(parameters: list[Tensor], batch: list[Tensor], balance: Tensor) -> list[Tensor]:
        parameters = [p.detach().requires_grad_(True) for p in parameters]
        named = dict(zip(names, parameters, strict=True))
        loss, *errors = _loss(outputs, named, Batch(*batch), weights, balance)
        gradients = torch.autograd.grad(loss, parameters)
        return [loss.detach(), *(error.detach() for error in errors), *gradients]

    run = CompiledStep(step) if compiled and kernel is None else step

    def call(parameters: Sequence[Tensor], batch: Batch, balance: Tensor) -> StepResult:
        loss, *rest = run(list(parameters), batch.tensors(), balance)
        return StepResult(loss, rest[0], rest[1], rest[2], list(rest[3:]))

    return call


class _Outputs(nn.Module):
    """What the loss asks of a network.

    Energies (N,) in eV; forces where it has its own; else the derivative of all energies by the
    edge vectors, (E, 3) in eV/Å.
    """

    def __init__(self, network: Network | TrainedNetwork, levels: Levels | None) -> None:
        super().__init__()
        self.network = network
        self.levels = levels
        config = network.network.config if isinstance(network, TrainedNetwork) else network.config
        self.direct, self.per_atom = traits(config)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor | None, Tensor | None]:
        vectors = batch.vectors.detach().requires_grad_(True)
        arguments = (batch.elements, batch.edge_index, vectors)
        forces = gradient = None
        if isinstance(self.network, TrainedNetwork):
            energies, gradient = self.network(*arguments)
        elif self.direct:
            assert isinstance(self.network, PublishedTDN)
            energies, forces = self.network.energies_and_forces(*arguments)
        else:
            energies = self.network(*arguments)
        if self.per_atom:
            energies = energies * batch.n_atoms.index_select(0, batch.structure)
        if forces is None and gradient is None:
            (gradient,) = torch.autograd.grad(energies.sum(), vectors, create_graph=True)
        if self.levels is not None:
            level = batch.level.index_select(0, batch.structure)
            energies = energies + self.levels(level, batch.elements)
        return energies, forces, gradient


def _loss(
    outputs: _Outputs,
    parameters: dict[str, Tensor],
    batch: Batch,
    weights: LossWeights,
    balance: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Loss and the mean absolute errors of energy per atom, force components and virial."""
    energies, forces, gradient = torch.func.functional_call(outputs, parameters, (batch,))
    source, target = batch.edge_index
    if forces is None:
        forces = (
            torch.zeros_like(batch.forces)
            .index_add(0, target, gradient)
            .index_add(0, source, -gradient)
        )
    energy = torch.zeros_like(batch.energy).index_add(0, batch.structure, energies)
    energy_error = (energy - batch.energy) / batch.n_atoms
    force_error = forces - batch.forces
    delta = weights.huber_delta
    of_energies = _huber(energy_error.abs(), weights.energy_huber_delta)
    loss = balance[0] * weights.energy * of_energies.mean()
    loss = loss + balance[1] * weights.forces * _huber(_norm(force_error), delta).mean()
    virial_error = torch.zeros_like(loss)
    if weights.stress:
        by_edge = batch.vectors[:, :, None] * gradient[:, None, :]
        owner = batch.structure.index_select(0, target)
        strain = torch.zeros_like(batch.strain_gradient).index_add(0, owner, by_edge)
        strain_error = (strain - batch.strain_gradient) / batch.n_atoms[:, None, None]
        stress_loss = _huber(strain_error.abs(), delta).mean((1, 2)) * batch.has_stress
        loss = loss + weights.stress * stress_loss.mean()
        known = batch.has_stress.sum().clamp(min=1)
        virial_error = (strain_error.abs().mean((1, 2)) * batch.has_stress).sum() / known
    return loss, energy_error.abs().mean(), force_error.abs().mean(), virial_error


def _norm(vectors: Tensor) -> Tensor:
    """Length of vectors (N, 3) with a finite gradient at zero."""
    return (vectors.square().sum(1) + 1e-12).sqrt()


def _huber(errors: Tensor, delta: float) -> Tensor:
    """Quadratic below delta, linear above, of errors that are not negative; slope 1 far out."""
    return torch.where(errors < delta, errors.square() / (2 * delta), errors - delta / 2)
