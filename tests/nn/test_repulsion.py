import math

import pytest
import torch

from tdncalc.nn.repulsion import NEVER_BONDED, Repulsion

COULOMB = 14.399645
CHARGES = (1.0, 6.0, 17.0)
RADII = (0.31, 0.76, 1.02)


def make_repulsion(shortest):
    repulsion = Repulsion(
        torch.tensor(CHARGES, dtype=torch.float64),
        torch.tensor(RADII, dtype=torch.float64),
        COULOMB,
    )
    repulsion.shortest.fill_(shortest)
    return repulsion


@pytest.fixture
def repulsion():
    """Without the wall: training structures of every distance."""
    return make_repulsion(shortest=1e-9)


def pair_energy(repulsion, lengths, i, j):
    ends = torch.tensor([[i], [j]]).expand(2, len(lengths))
    return repulsion(lengths, ends[0], ends[1]) + repulsion(lengths, ends[1], ends[0])


def by_hand(r, i, j):
    """The universal potential (ZBL) times 1 - 21u⁵ + 35u⁶ - 15u⁷, in plain Python."""
    z_i, z_j = CHARGES[i], CHARGES[j]
    x = r / (0.46850 / (z_i**0.23 + z_j**0.23))
    terms = (0.18175, 3.19980), (0.50986, 0.94229), (0.28022, 0.40290), (0.02817, 0.20162)
    screening = sum(c * math.exp(-d * x) for c, d in terms)
    u = r / (RADII[i] + RADII[j])
    return COULOMB * z_i * z_j / r * screening * (1 - 21 * u**5 + 35 * u**6 - 15 * u**7)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 1), (1, 2), (2, 2)])
def test_repulsion_has_the_published_values(repulsion, i, j):
    for fraction in (0.1, 0.5, 0.9):
        r = fraction * (RADII[i] + RADII[j])
        energy = pair_energy(repulsion, torch.tensor([r], dtype=torch.float64), i, j)
        assert float(energy) == pytest.approx(by_hand(r, i, j), rel=1e-10)


def test_hydrogens_at_half_an_angstrom(repulsion):
    # the formula worked out once on paper: x = 2.13447, φ = 0.19015 ..., u = 0.80645
    energy = pair_energy(repulsion, torch.tensor([0.5], dtype=torch.float64), 0, 0)
    assert float(energy) == pytest.approx(0.811, abs=1e-3)


@pytest.mark.parametrize(("i", "j"), [(0, 0), (0, 2), (1, 1), (2, 2)])
def test_repulsion_pushes_at_every_length_and_ends_smoothly(repulsion, i, j):
    reach = RADII[i] + RADII[j]
    r = torch.linspace(0.02, reach * 0.999, 300, dtype=torch.float64).requires_grad_(True)
    (slope,) = torch.autograd.grad(pair_energy(repulsion, r, i, j).sum(), r)
    assert (slope < 0).all()
    r = reach + torch.tensor([-1e-4, 1e-4], dtype=torch.float64)
    r.requires_grad_(True)
    energy = pair_energy(repulsion, r, i, j)
    (slope,) = torch.autograd.grad(energy.sum(), r, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), r)
    near, beyond = torch.stack([energy, slope, curvature], dim=1).detach().tolist()
    assert beyond == [0, 0, 0]
    assert 0 < near[0] < 1e-7
    assert -1e-4 < near[1] < 0
    assert 0 < near[2] < 2


def test_repulsion_is_shared_equally_by_both_atoms(repulsion):
    r = torch.tensor([0.9], dtype=torch.float64)
    i, j = torch.tensor([0]), torch.tensor([2])
    torch.testing.assert_close(repulsion(r, i, j), repulsion(r, j, i), rtol=1e-15, atol=0)


def test_wall_stands_below_the_shortest_distance_of_training(repulsion):
    walled = make_repulsion(shortest=1.6)
    r = torch.tensor([0.4, 0.8, 1.2, 1.7], dtype=torch.float64)
    wall = pair_energy(walled, r, 0, 1) - pair_energy(repulsion, r, 0, 1)
    assert wall.tolist() == pytest.approx([50 * 0.75**3, 50 * 0.5**3, 50 * 0.25**3, 0], rel=1e-9)


def test_shortest_distance_is_the_sum_of_radii_until_it_is_measured():
    ones = torch.ones(3, dtype=torch.float64)
    unmeasured = Repulsion(ones, torch.tensor(RADII, dtype=torch.float64), COULOMB)
    seen = unmeasured.seen(torch.tensor([0, 2]), torch.tensor([1, 2]))
    assert seen.tolist() == pytest.approx([1.07, 2.04])


def test_reach_ends_where_the_training_set_begins(repulsion):
    bonded = torch.tensor(RADII)[:, None] + torch.tensor(RADII)
    assert torch.allclose(repulsion.reach.float(), bonded)
    repulsion.measured(bonded * torch.tensor([0.5, 0.8, 1.3]))
    limits = torch.tensor([NEVER_BONDED, 0.8, 1.0])
    assert torch.allclose(repulsion.reach.float(), bonded * limits)


def test_no_bond_feels_the_repulsion(repulsion):
    repulsion.measured(repulsion.reach * 0.7)
    r = torch.linspace(0.98, 1.14, 9, dtype=torch.float64)  # C–H, 1.06 Å
    assert pair_energy(repulsion, r, 0, 1).abs().max() == 0
    assert pair_energy(repulsion, r / 1.06 * 1.20, 1, 1).abs().max() == 0
    assert pair_energy(repulsion, r / 2, 0, 1).min() > 1


def test_a_state_without_a_reach_has_the_sums_of_radii(repulsion):
    state = make_repulsion(shortest=0.9).state_dict()
    del state["reach"]
    repulsion.measured(repulsion.shortest)
    repulsion.load_state_dict(state)
    assert repulsion.shortest.eq(0.9).all()
    assert repulsion.reach[0, 2] == pytest.approx(1.33)
