import math

import pytest
import torch

from tdncalc.nn.radial import BesselBasis, RadialWeights, envelope, saturate

CUTOFF = 5.0


def derivatives(function, x, order):
    """Value and derivatives of a function of one variable, elementwise."""
    x = x.clone().requires_grad_(True)
    values = [function(x)]
    for _ in range(order):
        values += torch.autograd.grad(values[-1].sum(), x, create_graph=True)
    return [value.detach() for value in values]


def test_envelope_is_one_at_zero():
    value = derivatives(lambda r: envelope(r, CUTOFF), torch.zeros(1, dtype=torch.float64), 4)
    assert [float(v) for v in value] == pytest.approx([1.0, 0.0, 0.0, 0.0, 0.0], abs=1e-14)


def test_envelope_and_two_derivatives_vanish_at_the_cutoff():
    gap = 1e-4
    r = torch.tensor([CUTOFF * (1 - gap), CUTOFF], dtype=torch.float64)
    value, first, second = derivatives(lambda r: envelope(r, CUTOFF), r, 2)
    assert value[1] == first[1] == second[1] == 0.0
    assert abs(value[0]) < 40 * gap**3
    assert abs(first[0]) < 40 * gap**2
    assert abs(second[0]) < 40 * gap


def test_envelope_is_the_published_polynomial():
    u = torch.linspace(0, 1, 101, dtype=torch.float64)
    published = 1 - 21 * u**5 + 35 * u**6 - 15 * u**7
    torch.testing.assert_close(envelope(u * CUTOFF, CUTOFF), published, rtol=0, atol=1e-14)


def test_envelope_falls_steadily_and_is_zero_beyond_the_cutoff():
    value = envelope(torch.linspace(0.01, 2 * CUTOFF, 500, dtype=torch.float64), CUTOFF)
    assert (value[1:250] < value[:249]).all()
    assert (value[250:] == 0).all()


def test_envelope_keeps_its_digits_near_the_cutoff_in_single_precision():
    r = torch.linspace(4.9, 4.999, 100)
    torch.testing.assert_close(
        envelope(r, CUTOFF).double(), envelope(r.double(), CUTOFF), rtol=3e-4, atol=0
    )


def test_bessel_basis_is_the_published_one():
    r = torch.tensor([0.3, 1.7, 4.2], dtype=torch.float64)
    basis = BesselBasis(4, CUTOFF)(r)
    for row, length in zip(basis, r.tolist(), strict=True):
        for n, value in enumerate(row.tolist(), 1):
            published = math.sqrt(2 / CUTOFF) * math.sin(n * math.pi * length / CUTOFF) / length
            assert value == pytest.approx(published * math.sqrt(CUTOFF**3 / 8), rel=1e-13)


def test_bessel_functions_are_orthogonal():
    r = torch.linspace(0, CUTOFF, 20001, dtype=torch.float64)[1:]
    basis = BesselBasis(5, CUTOFF)(r)
    overlap = torch.trapezoid(
        r[:, None, None] ** 2 * basis[:, :, None] * basis[:, None, :], r, dim=0
    )
    expected = CUTOFF**3 / 8 * torch.eye(5, dtype=torch.float64)
    torch.testing.assert_close(overlap, expected, rtol=0, atol=1e-5)


def test_radial_weights_depend_on_both_elements_and_vanish_with_the_envelope():
    torch.manual_seed(0)
    weights = RadialWeights(n_elements=2, n_radial=4, hidden=8, n_out=3).double()
    basis = torch.rand(1, 4, dtype=torch.float64).expand(5, 4)
    source, target = torch.tensor([0, 0, 1, 1, 0]), torch.tensor([0, 1, 0, 1, 0])
    falloff = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    out = weights(basis, source, target, falloff).detach()
    differences = (out[:, None] - out[None]).abs().amax(2) + torch.eye(5)
    assert float(differences.min()) > 1e-3
    assert (out[4] == 0).all()


def test_saturated_length_follows_above_and_stays_below():
    start, end = torch.tensor(1.0), torch.tensor(1.4)
    lengths = torch.tensor([0.1, 0.999, 1.4, 2.5], dtype=torch.float64)
    expected = torch.tensor([1.2, 1.2, 1.4, 2.5], dtype=torch.float64)
    torch.testing.assert_close(saturate(lengths, start, end), expected, rtol=0, atol=1e-7)


def test_saturated_length_has_two_continuous_derivatives():
    start, end = torch.tensor(1.0, dtype=torch.float64), torch.tensor(1.4, dtype=torch.float64)
    inside = torch.linspace(1.01, 1.39, 20, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: saturate(x, start, end), (inside,))
    for place, slope in ((1.0, 0.0), (1.4, 1.0)):
        near = torch.tensor([place - 1e-6, place, place + 1e-6], dtype=torch.float64)
        near.requires_grad_()
        (first,) = torch.autograd.grad(saturate(near, start, end).sum(), near, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), near)
        assert first.tolist() == pytest.approx([slope] * 3, abs=1e-9)
        assert second.tolist() == pytest.approx([0.0] * 3, abs=1e-6)
