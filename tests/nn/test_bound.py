import torch

from tdncalc.nn.bound import FLOOR_DEPTH, bounded_below

LOWEST = torch.tensor(-3.0, dtype=torch.float64)


def test_energies_above_the_lowest_stay_as_they_are():
    energies = torch.linspace(-3.0, 1e6, 50, dtype=torch.float64)
    assert torch.equal(bounded_below(energies, LOWEST), energies)


def test_nothing_is_more_than_half_the_depth_below_the_lowest():
    energies = torch.tensor([-3.0 - FLOOR_DEPTH, -100.0, -1e30, -torch.inf], dtype=torch.float64)
    bounded = bounded_below(energies.requires_grad_(), LOWEST)
    assert torch.equal(bounded, torch.full_like(bounded, -3.0 - FLOOR_DEPTH / 2))
    bounded.sum().backward()
    assert torch.equal(energies.grad, torch.zeros_like(energies))


def test_two_derivatives_are_continuous_and_the_slope_never_negative():
    energies, step = torch.linspace(-6.0, -2.0, 40_001, dtype=torch.float64), 1e-4
    energies.requires_grad_()
    bounded = bounded_below(energies, LOWEST)
    (slope,) = torch.autograd.grad(bounded.sum(), energies, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), energies)
    assert slope.min() >= 0
    assert slope.max() <= 1
    assert torch.allclose(bounded.diff() / step, (slope[1:] + slope[:-1]) / 2, atol=1e-7)
    assert curvature.diff().abs().max() < 10 * step  # a jump would not shrink with the step


def test_no_lowest_energy_changes_nothing():
    energies = torch.tensor([-1e30, -2.0, 5.0], requires_grad=True)
    bounded = bounded_below(energies, torch.tensor(-torch.inf))
    assert torch.equal(bounded, energies)
    bounded.sum().backward()
    assert torch.equal(energies.grad, torch.ones(3))
