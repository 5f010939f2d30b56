"""How far is what was learned from what was started, and further than chance? Total variation between two laws over a few classes.

Pure NumPy: no I/O, no clock; random numbers come from the generator handed in. C classes (buckets of duration, or labels).

The gap is the total variation distance, half the sum of absolute differences of shares: the largest difference that any set of
classes can have. Its law under chance is simulated: shares scatter as if each action had been drawn independently from the
starts, with the weights that it had (multiplier bootstrap: van der Vaart and Wellner 1996, section 3.6; with equal weights that is
the multinomial law, which a permutation of the starts' fates approaches). A queue that loses nothing scatters less, so the test errs
on the side of silence.
"""

import math
from dataclasses import dataclass

import numpy as np

SIMULATIONS = 2_000
STANDARD_ERRORS = 3.0  # beyond the mean of chance: docs/duration.md, what the system must do
FEWEST = 200  # actions, started and learned from, below which nothing is said
SMALL = 0.01  # a gap below this is of no consequence, however certain


@dataclass(frozen=True)
class Gap:
    """A distance and what chance makes of it.

    distance: total variation in [0, 1].  chance_mean, chance_sd: of it where nothing is lost.
    p_value: share of simulations at least as far, at least 1 / (SIMULATIONS + 1).
    error: relative standard error of estimated weights.  unsettled: share of starts of which nothing can be known yet.
    quicker: whether quick classes (low indices) have too much.
    """

    distance: float
    chance_mean: float
    chance_sd: float
    p_value: float
    error: float
    unsettled: float
    quicker: bool

    @property
    def beyond_chance(self) -> bool:
        """Three standard errors beyond chance, and more than what is not settled yet could explain."""
        limit = self.chance_mean + STANDARD_ERRORS * math.hypot(self.chance_sd, self.error)
        return self.distance > max(limit, self.unsettled)

    @property
    def matters(self) -> bool:
        return self.beyond_chance and self.distance >= SMALL


def gap(
    expected: np.ndarray,
    weight: np.ndarray,
    squares: np.ndarray,
    rng: np.random.Generator,
    *,
    drawn_from: float = math.inf,
    together: float = 1.0,
    error: float = 0.0,
    unsettled: float = 0.0,
) -> Gap | None:
    """Compare weights with what was expected; None where either has nothing.

    expected, weight: float64[C] >= 0, of any scale.  squares: sums of squared weights, float64[C].
    drawn_from: actions that repeated draws came from: no more independent ones can be known.
    together: actions that are kept or lost together (steps of a segment).
    """
    if expected.sum() <= 0.0 or weight.sum() <= 0.0:
        return None
    law, share = expected / expected.sum(), weight / weight.sum()
    spread = np.maximum(squares, law * squares.sum()) * together / weight.sum() ** 2 + law * together / drawn_from
    noise = rng.standard_normal((SIMULATIONS, len(law))) * np.sqrt(spread)
    distances = 0.5 * np.abs(noise - law * noise.sum(axis=1, keepdims=True)).sum(axis=1)
    distance = 0.5 * float(np.abs(share - law).sum())
    return Gap(
        distance=distance,
        chance_mean=float(distances.mean()),
        chance_sd=float(distances.std()),
        p_value=(1 + int(np.count_nonzero(distances >= distance))) / (SIMULATIONS + 1),
        error=error,
        unsettled=unsettled,
        quicker=float((share - law) @ np.arange(len(law))) < 0.0,
    )
