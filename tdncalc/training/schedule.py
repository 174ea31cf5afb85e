"""How learning rate and loss weights move over a run."""

import math

from tdncalc.training.config import OptimizerConfig

__all__ = ["energy_weight", "learning_rate"]


def learning_rate(options: OptimizerConfig, step: int) -> float:
    """Return the rate of a step: linear warm-up, constant, then half a cosine to a hundredth."""
    warm = min(1.0, (step + 1) / max(options.warmup_steps, 1))
    return (
        options.learning_rate
        * warm
        * (0.01 + 0.99 * (1 + math.cos(math.pi * _fall(options, step))) / 2)
    )


def energy_weight(options: OptimizerConfig, step: int) -> float:
    """Return the weight of the energy error at a step: it moves while the learning rate falls.

    By a factor that is the same in each step; from or to 0, by a difference that is.
    """
    fall = _fall(options, step)
    start, end = options.energy_weight, options.final_energy_weight
    if not (start and end):
        return (1 - fall) * start + fall * end
    return math.exp((1 - fall) * math.log(start) + fall * math.log(end))


def _fall(options: OptimizerConfig, step: int) -> float:
    """Return how far the falling part of the schedule has come, 0 to 1."""
    if not options.decay:
        return 0.0
    return min(1.0, max(0.0, step / options.steps - 1 + options.decay) / options.decay)
