"""Loss weights for prioritised, duration-aware batches: named factors, each normalised by its own running mean.

Pure NumPy: no I/O, no clock, no randomness. B items per batch, K batches that came together, N items in the table.

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
from replay.normaliser import RunningMean, normalise
from sojourn.config.schema import TableSettings
from sojourn.errors import ConfigError
from sojourn.experience import Columns, SampleInfo
from sojourn.plugins import resolve

Weighting = Callable[[Columns, SampleInfo, TableFacts], np.ndarray]
"""(columns, info, facts) -> raw weights float[B], >= 0. Declared extras are among the columns."""


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


def effective_shares(weight: np.ndarray) -> list[float]:
    """Effective sample size over B: (sum w)^2 / (B sum w^2), in (0, 1]; 0 when all weights are 0.  float[K, B] -> K numbers.

    Source: Kish 1965.
    """
    squares = np.add.reduce(weight * weight, axis=1)  # no BLAS: a batch is small, and would wait for the interpreter's lock
    pairs = zip(np.add.reduce(weight, axis=1).tolist(), squares.tolist(), strict=True)
    return [total**2 / (weight.shape[1] * square) if square > 0.0 else 0.0 for total, square in pairs]


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

    @property
    def takes_several(self) -> bool:
        """Whether batches can be weighed together: neither by a rule from outside, which sees batch by batch, nor with a floor."""
        return self._floor is None and self._table.duration.weight in WEIGHTINGS

    def weigh(self, columns: Columns, info: SampleInfo, facts: TableFacts) -> Weighted:
        """Factors and their product for one batch."""
        weight, errors = self._duration_weight(columns, info, facts)
        raw = self._raw(weight, info, facts)
        return self._weighted(self._floor.temper(raw) if self._floor else raw, errors, 1)[0]

    def weigh_several(self, info: SampleInfo, facts: TableFacts, batches: int) -> list[Weighted]:
        """The same for so many batches of one size, which follow each other in `info`, each by the means before it."""
        weight, errors = self._duration_weight({}, info, facts)
        return self._weighted(self._raw(weight, info, facts), errors, batches)

    def _weighted(self, raw: Mapping[str, np.ndarray], errors: Mapping[str, np.ndarray], batches: int) -> list[Weighted]:
        """raw, errors: float[K * B] each."""
        cap = self._table.duration.cap or (len(raw["duration"]) // batches) ** 0.5
        normalised = {name: normalise(weight.reshape(batches, -1), self._means[name], cap) for name, weight in raw.items()}
        factors = {name: factor for name, (factor, _, _) in normalised.items()}
        product = reduce(np.multiply, factors.values())  # in their order: a product of floats depends on it
        shares, by_batch = effective_shares(product), {name: error.reshape(batches, -1) for name, error in errors.items()}
        return [
            Weighted(
                loss_weight=product[number],
                factors={name: factor[number] for name, factor in factors.items()},
                ess_share=shares[number],
                capped=sum(cut[number] for _, cut, _ in normalised.values()),
                repaired=sum(mended[number] for _, _, mended in normalised.values()),
                errors={name: error[number] for name, error in by_batch.items()},
            )
            for number in range(batches)
        ]

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
