"""Time, memory, work and errors of products, side by side."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from tdncalc.laboratory.catalogue import Entry
from tdncalc.laboratory.memory import peak_memory
from tdncalc.laboratory.product import Product, ProductUnavailableError
from tdncalc.laboratory.quality import counts, errors
from tdncalc.nn.coupling import coupling_tensor
from tdncalc.nn.spherical import SphericalHarmonics

__all__ = ["Row", "Setting", "measure"]

_SAMPLE = 16  # edges on which errors are measured
_WARM_UP = 2
MAX_WORKSPACE = 2 * 2**30  # bytes of one intermediate array


@dataclass(frozen=True)
class Setting:
    """Under what circumstances products are measured.

    Attributes
    ----------
    l_max, channels, edges
        Largest degree L, channels C of the first operand, pairs (x, y).
    many
        Whether y has C channels, as features of atoms, or one, the harmonics of an edge.
    device, dtype
        Where, and how precisely.
    repeats
        Measurements of each product, of which the median is taken.
    """

    l_max: int
    channels: int
    edges: int
    many: bool
    device: torch.device
    dtype: torch.dtype
    repeats: int


@dataclass(frozen=True)
class Row:
    """What was measured of one product, or why it could not be.

    Attributes
    ----------
    product, map_name, exact, text
        As in the catalogue.
    reason
        Why there are no figures; empty if there are.
    forward_ms, backward_ms
        Median times of a forward pass, and of forward and backward passes together.
    memory_MB
        The most that both passes hold at once beyond the operands, 10⁶ bytes.
    flops
        Multiplications and additions of the forward pass by the formula of the product.
    error
        Against the definition of the map, root mean square, relative.
    rotation_error, reflection_error
        Of rotating or inverting the operands against the result, likewise.
    paths, paths_allowed
        Couplings (l1, l2) -> l3 that exist, and all there could be.
    expressivity
        Dimension of the set of maps with a linear layer around; of the map it stands for.
    missing
        The couplings that do not exist.
    """

    product: str
    map_name: str
    exact: bool
    text: str
    reason: str = ""
    forward_ms: float | None = None
    backward_ms: float | None = None
    memory_MB: float | None = None  # noqa: N815 - a unit
    flops: int | None = None
    error: float | None = None
    rotation_error: float | None = None
    reflection_error: float | None = None
    paths: int | None = None
    paths_allowed: int | None = None
    expressivity: int | None = None
    missing: tuple[str, ...] = ()


def measure(entries: Sequence[Entry], setting: Setting) -> list[Row]:
    """Measure products under one setting; their repeats take turns.

    Returns
    -------
    list[Row]
        One for each entry, in order, also for what does not exist or is too large.
    """
    numbers = setting.edges * (setting.l_max + 1) ** 2 * setting.channels
    if reason := _too_large(numbers, setting):
        return [Row(e.name, e.map_name, e.exact, e.text, reason=reason) for e in entries]
    x, y = _operands(setting, setting.edges)
    products: dict[str, Product] = {}
    memory: dict[str, int] = {}
    reasons: dict[str, str] = {}
    for entry in entries:
        try:
            product = _build(entry, setting)
            memory[entry.name] = _memory(product, x, y)
            products[entry.name] = product
        except ProductUnavailableError as error:
            reasons[entry.name] = str(error)
        except torch.OutOfMemoryError:
            reasons[entry.name] = "too large: the device is out of memory; take fewer --edges"
    times = _times(products, x, y, setting)
    return [
        Row(
            entry.name,
            entry.map_name,
            entry.exact,
            entry.text,
            reason=reasons.get(entry.name, ""),
            **_figures(entry.name, products, memory, times, setting),
        )
        for entry in entries
    ]


def _figures(
    name: str,
    products: dict[str, Product],
    memory: dict[str, int],
    times: dict[str, list[tuple[float, float]]],
    setting: Setting,
) -> dict[str, Any]:
    """Return the measured fields of a row, none for a product that could not be measured."""
    if name not in products:
        return {}
    product = products[name]
    forward, both = (1000 * statistics.median(series) for series in zip(*times[name], strict=True))
    return {
        "forward_ms": forward,
        "backward_ms": both,
        "memory_MB": memory[name] / 1e6,
        "flops": setting.edges * product.flops(setting.channels, many=setting.many),
        **errors(product, *_operands(setting, _SAMPLE)),
        **counts(product),
    }


def _build(entry: Entry, setting: Setting) -> Product:
    product = entry.build(setting.l_max, setting.channels)
    if product.needs_direction and setting.many:
        raise ProductUnavailableError("not defined: y must be the harmonics of one direction")
    numbers = setting.edges * product.workspace(setting.channels, many=setting.many)
    if reason := _too_large(numbers, setting):
        raise ProductUnavailableError(reason)
    return product.to(setting.device, setting.dtype)


def _too_large(numbers: int, setting: Setting) -> str:
    """Say that an array of so many numbers is more than is allowed; nothing if it is not."""
    size = numbers * setting.dtype.itemsize
    if size <= MAX_WORKSPACE:
        return ""
    return (
        f"too large: one array of {size / 2**30:.1f} GiB (limit {MAX_WORKSPACE / 2**30:.0f}); "
        "take fewer --edges"
    )


def _operands(setting: Setting, n: int) -> tuple[Tensor, Tensor]:
    """Return random x (n, D, C) and y (n, D, C), or harmonics y (n, D), with gradients."""
    generator = torch.Generator("cpu").manual_seed(0)
    shape = (n, (setting.l_max + 1) ** 2, setting.channels)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    if setting.many:
        y = torch.randn(shape, generator=generator, dtype=torch.float64)
    else:
        vectors = torch.randn(n, 3, generator=generator, dtype=torch.float64)
        vectors = torch.nn.functional.normalize(vectors, dim=1)
        y = SphericalHarmonics(setting.l_max, coupling_tensor(setting.l_max))(vectors)
    x, y = (operand.to(setting.device, setting.dtype) for operand in (x, y))
    return x.requires_grad_(True), y.requires_grad_(True)


def _packed(product: Product, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return operands in the layout of a product, which is no part of its time."""
    first, second = (product.pack(operand).detach().requires_grad_(True) for operand in (x, y))
    return first, second


def _backward(product: Product, x: Tensor, y: Tensor) -> None:
    out = product.couple(x, y)
    inputs = [x, y, *(weight for weight in product.parameters() if weight.requires_grad)]
    torch.autograd.grad(out, inputs, torch.ones_like(out))


def _memory(product: Product, x: Tensor, y: Tensor) -> int:
    packed = _packed(product, x, y)
    _backward(product, *packed)  # what is made once is made now
    return peak_memory(lambda: _backward(product, *packed), x.device)


def _times(
    products: dict[str, Product], x: Tensor, y: Tensor, setting: Setting
) -> dict[str, list[tuple[float, float]]]:
    """Return seconds of forward, and forward with backward, of every repeat."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in products}
    for repeat in range(_WARM_UP + setting.repeats):
        for name, product in products.items():
            packed = _packed(product, x, y)
            forward = _seconds(lambda p=product, a=packed: p.couple(*a), setting.device)  # type: ignore[misc]
            both = _seconds(lambda p=product, a=packed: _backward(p, *a), setting.device)  # type: ignore[misc]
            if repeat >= _WARM_UP:
                times[name].append((forward, both))
    return times


def _seconds(compute: Callable[[], object], device: torch.device) -> float:
    """Return processor time of one thread, which other work does not disturb, else wall time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    compute()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start
