import numpy as np
import pytest

from tdncalc.workflows.nose_hoover import Chain


def oscillator(timestep, steps):
    """Momenta of a harmonic oscillator at kT = 1 under a chain, and the conserved quantity."""
    chain = Chain(1, 1.0, 1.0)
    x, p = 0.3, 1.1
    momenta, conserved = np.empty(steps), np.empty(steps)
    for i in range(steps):
        p *= chain.half_step(p**2, timestep)
        p -= timestep / 2 * x
        x += timestep * p
        p -= timestep / 2 * x
        p *= chain.half_step(p**2, timestep)
        momenta[i], conserved[i] = p, (x**2 + p**2) / 2 + chain.energy()
    return momenta, conserved


def test_chain_makes_an_oscillator_canonical():
    # A single Nosé-Hoover thermostat does not. Standard errors near 2 % and 3 %.
    momenta, _ = oscillator(0.15, 60_000)
    assert (momenta**2).mean() == pytest.approx(1.0, abs=0.08)
    assert (momenta**4).mean() == pytest.approx(3.0, abs=0.4)


def test_conserved_quantity_converges_with_the_square_of_the_time_step():
    errors = [oscillator(dt, round(12 / dt))[1].std() for dt in (0.1, 0.05, 0.025)]
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 4.0, rtol=0.1)
