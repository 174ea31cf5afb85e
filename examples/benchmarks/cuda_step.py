"""Measure a step of dynamics on a GPU: PyTorch alone, with the kernels, and as one CUDA graph.

For 21, 192, 1000 and 10,368 atoms: milliseconds of a step (energy, forces and stress, all atoms
moving, neighbor lists and transfers included), median of many. For the kernels of messages also the
bandwidth that they achieve, over the one of a copy on the same GPU; their bytes are counted as if
each tensor were read or written once.

    python examples/benchmarks/cuda_step.py --model organic --steps 50
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import click
import numpy as np
import torch
from harness.systems import make_system

from tdncalc import TDNCalculator
from tdncalc.fused.operator import gather_product_backward
from tdncalc.potential import Potential

SYSTEMS = ("aspirin", "water-box", "silicon", "benzene-large")
MOTION = 0.02  # Å a step and coordinate: neighbor lists last some 10 steps
NEEDED = (
    "this needs an NVIDIA GPU, a CUDA build of PyTorch ('pip install torch' on Linux) and Triton, "
    "which comes with it; here PyTorch finds no GPU"
)


@dataclass(frozen=True)
class Sizes:
    """What a gathering of messages reads and writes: float32, and int32 for its lists."""

    n_atoms: int
    n_edges: int
    d_in: int
    d_out: int
    channels: int

    def forward(self) -> int:
        """Count bytes of features, harmonics, weights and lists read, and of results written."""
        n_degrees = round(self.d_out**0.5)
        atoms = (self.d_in + self.d_out) * self.channels * self.n_atoms
        edges = (self.d_out + n_degrees * self.channels) * self.n_edges
        return 4 * (atoms + edges + 2 * self.n_edges + self.n_atoms)

    def backward(self) -> int:
        """Count the same for both passes of the gradients: both read the edges, one writes."""
        n_degrees = round(self.d_out**0.5)
        edge = (self.d_out + n_degrees * self.channels) * self.n_edges
        atoms = (2 * self.d_out + 2 * self.d_in) * self.channels * self.n_atoms
        return 4 * (atoms + 3 * edge + 2 * (2 * self.n_edges + self.n_atoms))


@click.command(help=__doc__)
@click.option("--model", default="organic", show_default=True)
@click.option("--steps", default=50, show_default=True)
@click.option("--systems", default=",".join(SYSTEMS), show_default=True)
def main(model: str, steps: int, systems: str) -> None:
    """Measure and print."""
    if not torch.cuda.is_available():
        sys.exit(NEEDED)
    attainable = copy_bandwidth()
    click.echo(f"{torch.cuda.get_device_name()}, torch {torch.__version__}, model {model}")
    click.echo(f"a copy moves {attainable / 1e9:.0f} GB/s\n")
    click.echo("| atoms | edges | plain, ms | fused | fused and recorded | forward | backward |")
    click.echo("| --- | --- | --- | --- | --- | --- | --- |")
    for name in systems.split(","):
        cells = [f"{ms:.2f}" for ms in step_times(model, name, steps)]
        n_atoms, n_edges, achieved = kernel_bandwidths(model, name)
        shares = [f"{one / attainable:.0%}" for one in achieved]
        click.echo(f"| {' | '.join([str(n_atoms), str(n_edges), *cells, *shares])} |")


def step_times(model: str, name: str, steps: int) -> list[float]:
    """Return the median milliseconds of a step: plain, fused, fused and recorded."""
    times = []
    for evaluation, recorded in (("eager", False), ("compiled", False), ("compiled", True)):
        calculator = TDNCalculator(model, device="cuda", evaluation=evaluation)
        if evaluation == "compiled" and not recorded:
            calculator.potential.choice.repeated.record = None
        times.append(step_time(calculator, name, steps))
    return times


def step_time(calculator: TDNCalculator, name: str, steps: int) -> float:
    """Return the median milliseconds of a step with moving atoms."""
    atoms, rng = make_system(name), np.random.default_rng(0)
    atoms.calc = calculator
    places, seconds = atoms.positions.copy(), []
    for step in range(steps + 10):
        atoms.positions = places + rng.normal(scale=MOTION, size=places.shape)
        began = time.perf_counter()
        atoms.get_forces()  # on the CPU at the end: the GPU is done
        if step >= 10:
            seconds.append(time.perf_counter() - began)
    return 1e3 * float(np.median(seconds))


def kernel_bandwidths(model: str, name: str) -> tuple[int, int, list[float]]:
    """Return numbers of atoms and edges, and bytes a second of the last layer's kernels."""
    potential = TDNCalculator(model, device="cuda", evaluation="compiled").potential
    graph = potential.graph(make_system(name)).to(potential.device)
    sizes, operands, gather = _last_layer(potential, len(graph.numbers), graph.edge_index)
    a = gather(*operands)
    forward = gpu_seconds(lambda: gather(*operands))
    backward = gpu_seconds(lambda: gather_product_backward(a, *operands, **gather.keywords))
    achieved = [sizes.forward() / forward, sizes.backward() / backward]
    return sizes.n_atoms, sizes.n_edges, achieved


def _last_layer(
    potential: Potential, n_atoms: int, edge_index: torch.Tensor
) -> tuple[Sizes, list[torch.Tensor], Callable[..., torch.Tensor]]:
    config = potential.network.config
    size, channels = (config.l_max + 1) ** 2, config.edge_channels
    d_in, n_edges = size if config.n_layers > 1 else 1, edge_index.shape[1]
    shapes = (n_atoms, d_in, channels), (n_edges, size), (n_edges, config.l_max + 1, channels)
    operands = [torch.randn(shape, device="cuda") for shape in shapes]
    gather = potential.choice.fused.interactions[-1].message.gather
    return Sizes(n_atoms, n_edges, d_in, size, channels), [*operands, *edge_index], gather


def copy_bandwidth() -> float:
    """Return the bytes that a copy reads and writes in a second."""
    a = torch.zeros(2**28, device="cuda")
    b = torch.empty_like(a)
    return 2 * a.numel() * a.element_size() / gpu_seconds(lambda: b.copy_(a))


def gpu_seconds(run: Callable[[], object], repeats: int = 20) -> float:
    """Return the median time of the GPU."""
    seconds = []
    for attempt in range(repeats + 3):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        run()
        ended.record()
        torch.cuda.synchronize()
        if attempt >= 3:
            seconds.append(1e-3 * began.elapsed_time(ended))
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
