"""Our fastest exact product against e3nn's TensorProduct on the same couplings.

Forward and backward of the Gaunt couplings (even paths, one tensor for all channels), one-channel
second operand, one thread. Every product works in its own layout; the repeats take turns and the
medians of processor time are compared. The largest deviation of a result from that of e3nn, at
unit size, is printed too.

    python product_ratio.py [--edges 10000] [--channels 64] [--l-max 3] [--repeats 7] [--compiled]
"""

import argparse
import statistics
import time
import warnings

import torch

from tdncalc.laboratory.catalogue import chosen_entries
from tdncalc.laboratory.product import Product
from tdncalc.laboratory.report import machine
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.spherical import SphericalHarmonics

OURS = ("gaunt-dense", "gaunt-cp", "gaunt-tucker-full", "gaunt-grid", "gaunt-so2")


def operands(l_max: int, channels: int, edges: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random features (E, D, C) and the harmonics of random directions (E, D)."""
    torch.manual_seed(0)
    directions = torch.nn.functional.normalize(torch.randn(edges, 3).double(), dim=1)
    y = SphericalHarmonics(l_max, coupling_tensor(l_max))(directions)
    return torch.randn(edges, (l_max + 1) ** 2, channels), y.float()


def step(product: Product, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the processor time of forward and backward in ms."""
    x, y = (product.pack(operand).detach().requires_grad_() for operand in (x, y))
    start = time.process_time()
    out = product.couple(x, y)
    torch.autograd.grad(out, (x, y), torch.ones_like(out))
    return 1000 * (time.process_time() - start)


def products(l_max: int, channels: int, *, compiled: bool) -> dict[str, Product]:
    """Return e3nn's product and ours, and if asked our matrix per edge compiled."""
    entries = chosen_entries(("gaunt-e3nn", *OURS))
    found = {entry.name: entry.build(l_max, channels).float() for entry in entries}
    if compiled:
        fast = chosen_entries(["gaunt-dense"])[0].build(l_max, channels).float()
        fast.couple = torch.compile(fast.couple)
        found["gaunt-dense, compiled"] = fast
    return found


def deviation(product: Product, other: Product, x: torch.Tensor, y: torch.Tensor) -> float:
    """Return the largest difference of two results that have been scaled to unit size."""
    one, two = (p(x[:100], y[:100]).detach() for p in (product, other))
    return float((one / one.square().mean().sqrt() - two / two.square().mean().sqrt()).abs().max())


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--edges", type=int, default=10_000)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--l-max", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--compiled", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    print(
        f"{machine(torch.device('cpu'))}, {args.edges} edges, {args.channels} channels, float32\n"
    )
    print("| L | product | forward + backward, ms | e3nn / product | deviation |")
    print("| --- | --- | --- | --- | --- |")
    for l_max in range(1, args.l_max + 1):
        x, y = operands(l_max, args.channels, args.edges)
        found = products(l_max, args.channels, compiled=args.compiled)
        times: dict[str, list[float]] = {name: [] for name in found}
        for repeat in range(args.repeats + 2):
            for name, product in found.items():
                elapsed = step(product, x, y)
                if repeat > 1:
                    times[name].append(elapsed)
        medians = {name: statistics.median(values) for name, values in times.items()}
        reference = medians["gaunt-e3nn"]
        for name in sorted(medians, key=medians.__getitem__):
            off = deviation(found[name], found["gaunt-e3nn"], x, y)
            ratio = reference / medians[name]
            print(f"| {l_max} | {name} | {medians[name]:.1f} | {ratio:.1f} | {off:.0e} |")


if __name__ == "__main__":
    main()
