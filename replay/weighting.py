"""Loss weights for prioritised, duration-aware batches: named factors, each normalised by its own running mean.

Pure NumPy: no I/O, no clock, no randomness. B items per batch, N items in the table.

A factor is `min(raw / mean, cap)`, where `mean` is the running mean of the raw factor over the batches *before* this one: a
batch's own mean would shrink the gradient (to .775 of the truth with B = 32 and durations 1 and 20; docs/duration.md). The
cap is sqrt(B) unless the table's `duration.cap` says otherwise. `loss_weight` is the product of the factors; its mean stays
near 1, so the learning rate keeps its meaning. (Schaul et al. 2016 divide by the batch's largest weight instead, which makes
the step size depend on the rarest item drawn.)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np

from replay.ess_floor import EssFloor
from replay.facts import TableFacts
from replay.inclusion import CUT_BY, inclusion_weights, ones, pool_factor, with_errors
from sojourn.config.schema import TableSettings
from sojourn.errors import ConfigError
from sojourn.experience import Columns, SampleInfo
from sojourn.plugins import resolve

Weighting = Callable[[Columns, SampleInfo, TableFacts], np.ndarray]
"""(columns, info, facts) -> raw weights float[B], >= 0. Declared extras are among the columns."""

LARGEST = 1e30  # of raw weights, and SMALLEST of their means: beyond them single precision has no quotient
SMALLEST = 1e-30
MEAN_BATCHES = 100  # memory of the running means: long beside the noise of one batch, short beside a policy's drift


def importance_weights(probability: np.ndarray, table_items: float, exponent: float) -> np.ndarray:
    """Correct for prioritised draws: (N p) ** -exponent.

    probability: chance of each item when it was drawn, in (0, 1].  float64[B]
    exponent: 0 leaves the bias, 1 removes it.
    Returns float32[B], > 0, not normalised.  Source: Schaul et al. 2016, section 3.4.
    """
    if not 0.0 <= exponent <= 1.0:
        raise ValueError(f"importance exponent must lie in [0, 1], got {exponent}")
    return np.power((table_items * probability).astype(np.float32), np.float32(-exponent))


def annealed(start: float, end: float, env_steps: int, total_env_steps: int) -> float:
    """From `start` to `end` linearly in the accepted steps, then `end`."""
    return start + (end - start) * min(1.0, env_steps / total_env_steps)


def effective_share(weight: np.ndarray) -> float:
    """Effective sample size over B: (sum w)^2 / (B sum w^2), in (0, 1]; 0 when all weights are 0.  Source: Kish 1965."""
    squares = float(np.add.reduce(weight * weight))  # no BLAS: a batch is small, and would wait for the interpreter's lock
    return float(np.add.reduce(weight)) ** 2 / (len(weight) * squares) if squares > 0.0 else 0.0


def none(columns: Columns, info: SampleInfo, facts: TableFacts) -> np.ndarray:
    """No duration weight."""
    return ones(len(info.key))


def linear(columns: Columns, info: SampleInfo, facts: TableFacts) -> np.ndarray:
    """The published rule: each term times its duration (arXiv 2509.01684). Exact for a fixed time share per action only."""
    return info.duration_s


def inclusion(columns: Columns, info: SampleInfo, facts: TableFacts) -> np.ndarray:
    """One over the chance that a started action is drawn: exactly 1 where the table loses nothing (replay/inclusion.py)."""
    return inclusion_weights(info, facts)


WEIGHTINGS: dict[str, Weighting] = {"none": none, "linear": linear, "inclusion": inclusion, "pool": inclusion}
"""`pool` has a factor of its own, which multiplies that of inclusion."""


@dataclass(frozen=True)
class Weighted:
    """Weights of one batch.

    loss_weight: float32[B], product of the factors.  factors: float32[B] by name.  ess_share: effective share of the batch.
    capped: weights cut at the cap.  repaired: raw weights that were negative or not finite; they count as average ones.
    errors: relative standard errors float64[B] of the factors that were estimated, NaN: not known.
    """

    loss_weight: np.ndarray
    factors: Mapping[str, np.ndarray]
    ess_share: float
    capped: int
    repaired: int
    errors: Mapping[str, np.ndarray] = field(default_factory=dict)


class RunningMean:
    """Mean of the batches so far: plain over the first `memory` of them, exponential afterwards."""

    def __init__(self, memory: int = MEAN_BATCHES) -> None:
        self._memory = memory
        self._batches = 0
        self._value = 0.0

    def before(self, batch_mean: float) -> float:
        """The mean before this batch, which is then included. The very first batch has no other mean than its own."""
        mean = self._value if self._batches else batch_mean
        self._batches += 1
        self._value += (batch_mean - self._value) / min(self._batches, self._memory)
        return mean


class Weigher:
    """Computes the factors of one learner's batches, in the order in which it takes them. Not thread-safe.

    Invariant: the factors of a batch depend on that batch and on statistics of earlier ones only.
    """

    def __init__(self, table: TableSettings, total_env_steps: int, ess_floor: float = 0.0) -> None:
        """Raises ConfigError when the table asks for a weighting that is not available."""
        self._table = table
        self._total_env_steps = total_env_steps
        self._weighting: Weighting = resolve(table.duration.weight, WEIGHTINGS, "weighting")
        self._estimates = table.duration.weight in ("inclusion", "pool")
        self._by_draw = table.duration.apply == "draw"
        self._means = {"priority": RunningMean(), "duration": RunningMean(), "pool": RunningMean()}
        self._floor = EssFloor(ess_floor) if ess_floor > 0.0 else None

    @property
    def exponent(self) -> float:
        """What all raw weights are raised to: 1 unless the floor on the effective sample size binds."""
        return self._floor.exponent if self._floor else 1.0

    def weigh(self, columns: Columns, info: SampleInfo, facts: TableFacts) -> Weighted:
        """Factors and their product for one batch."""
        weight, errors = self._duration_weight(columns, info, facts)
        raw = self._raw(weight, info, facts)
        if self._floor:
            raw = self._floor.temper(raw)
        cap = self._table.duration.cap or len(info.key) ** 0.5
        normalised = {name: normalise(weight, self._means[name], cap) for name, weight in raw.items()}
        factors = {name: factor for name, (factor, _, _) in normalised.items()}
        loss_weight = reduce(np.multiply, factors.values())  # in their order: a product of floats depends on it
        capped = sum(cut for _, cut, _ in normalised.values())
        repaired = sum(mended for _, _, mended in normalised.values())
        return Weighted(loss_weight, factors, effective_share(loss_weight), capped, repaired, errors)

    def _raw(self, weight: np.ndarray, info: SampleInfo, facts: TableFacts) -> dict[str, np.ndarray]:
        """Factors before their means: duration (weight), pool, and priority, which the draws follow where there are priorities.

        Where the draws follow the duration weight as well, it is no factor any more, and the rest of the probability is the
        priority's part: importance anneals that part alone.
        """
        raw = {"duration": ones(len(info.key)) if self._by_draw else weight}
        if self._table.duration.weight == "pool":
            raw["pool"] = pool_factor(info, facts)
        if self._table.sampler == "prioritised" or not (self._by_draw or self._table.sampler == "fifo"):
            probability = info.probability / weight if self._by_draw else info.probability
            raw["priority"] = importance_weights(probability, info.table_items, self._importance_exponent(facts))
        return raw

    def _duration_weight(self, columns: Columns, info: SampleInfo, facts: TableFacts) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The weight, float[B], and its relative standard error, if it was estimated."""
        if self._estimates and facts.inclusion_rule in CUT_BY:
            weight, error = with_errors(info, facts)
            return weight, {"duration": error}
        name = self._table.duration.weight
        try:
            weight = np.asarray(self._weighting(columns, info, facts))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ConfigError(
                f"weighting {name!r} raised {type(error).__name__}: {error}; it gets columns {', '.join(sorted(columns))}, "
                "the facts of the draws and those of the table"
            ) from error
        if weight.shape != info.key.shape:
            raise ConfigError(f"weighting {name!r} must return one weight an item, shape {info.key.shape}, got {weight.shape}")
        if weight.dtype.kind not in "fiub":
            raise ConfigError(f"weighting {name!r} must return numbers, got an array of {weight.dtype}")
        return weight, {}

    def _importance_exponent(self, facts: TableFacts) -> float:
        table = self._table
        return annealed(table.importance_exponent, table.importance_exponent_end, facts.env_steps, self._total_env_steps)


@np.errstate(over="ignore", invalid="ignore")
def normalise(raw: np.ndarray, mean: RunningMean, cap: float) -> tuple[np.ndarray, int, int]:
    """min(raw / running mean before this batch, cap), and how many were cut and repaired.  raw: float[B] -> float32[B]."""
    common = ones(len(raw))
    if raw is common:
        mean.before(1.0)
        return common, 0, 0
    repaired = 0
    batch_mean = float(np.add.reduce(raw)) / len(raw)  # ufuncs themselves: the arrays' methods take twice as long
    if not (batch_mean <= LARGEST and np.minimum.reduce(raw) >= 0.0):
        raw, repaired = _repaired(raw)
        batch_mean = float(raw.mean())
    before = mean.before(batch_mean) or batch_mean  # all weights were 0 so far: there is no other mean than the batch's own
    if before < SMALLEST:  # nothing to scale by
        return np.zeros(len(raw), np.float32), 0, repaired
    factor = (raw * (1.0 / before)).astype(np.float32)  # whatever is infinite here is cut at the cap
    if np.maximum.reduce(factor) <= cap:
        return factor, 0, repaired
    return np.minimum(factor, np.float32(cap)), int((factor > cap).sum()), repaired


def _repaired(raw: np.ndarray) -> tuple[np.ndarray, int]:
    """Put the mean of the good weights, 1 if there is none, in the place of negative, non-finite and absurdly large ones."""
    good = (raw >= 0.0) & (raw <= LARGEST)
    instead = float(raw[good].mean()) if good.any() else 1.0
    return np.where(good, raw, instead), int((~good).sum())
