import torch

from tdncalc.nn.bound import FLOOR_DEPTH, bounded_below, bounded_norm

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


def features(norms):
    """Features (N, D, C) of so long norms."""
    drawn = torch.randn(len(norms), 9, 4, dtype=torch.float64)
    return drawn / torch.linalg.vector_norm(drawn, dim=(1, 2), keepdim=True) * norms[:, None, None]


def test_norms_up_to_the_largest_change_no_bit():
    x = features(torch.tensor([0.0, 1.0, 2.999, 50.0], dtype=torch.float64))
    largest = torch.tensor([3.0, 3.0, 3.0, torch.inf], dtype=torch.float64)
    assert torch.equal(bounded_norm(x, largest), x)


def test_no_norm_exceeds_one_and_a_half_of_the_largest():
    x = features(torch.tensor([3.1, 4.0, 6.0, 1e12], dtype=torch.float64))
    bounded = bounded_norm(x, torch.full((4,), 3.0, dtype=torch.float64))
    norms = torch.linalg.vector_norm(bounded, dim=(1, 2))
    assert (norms.diff() >= -1e-12).all()
    assert torch.allclose(norms[2:], torch.tensor(4.5, dtype=torch.float64))
    along = (bounded * x).sum((1, 2)) / norms / torch.linalg.vector_norm(x, dim=(1, 2))
    assert torch.allclose(along, torch.ones_like(along))


def test_bounded_norm_has_two_continuous_derivatives():
    lengths, step = torch.linspace(2.5, 7.0, 45_001, dtype=torch.float64), 1e-4
    lengths.requires_grad_()
    x = lengths[:, None, None] * torch.tensor([[[0.6, 0.8]]], dtype=torch.float64)
    bounded = bounded_norm(x, torch.full_like(lengths, 3.0)) @ x.new_tensor([0.6, 0.8])
    (slope,) = torch.autograd.grad(bounded.sum(), lengths, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), lengths)
    assert torch.allclose(bounded[:, 0].diff() / step, (slope[1:] + slope[:-1]) / 2, atol=1e-7)
    assert curvature.diff().abs().max() < 10 * step


def test_features_that_are_zero_have_derivatives():
    x = torch.zeros(2, 4, 3, requires_grad=True)
    bounded_norm(x, torch.tensor([1.0, torch.inf])).sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
