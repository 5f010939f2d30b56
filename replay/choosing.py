"""How many batches may be drawn now, and of which items? Limiter, sampler and draw counts together. No I/O, no clock."""

import numpy as np

from replay.item_set import ItemSet
from replay.limiter import RateLimiter
from replay.samplers import Sampler
from sojourn.config.schema import TableSettings

Chosen = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Positions int64, probabilities float64 and times sampled uint32 of whole batches, one after another."""


class Chooser:
    """Chooses the items of batches and counts their draws.

    hold_starts_after_s: an action that began then is still running; order `start` hands out nothing that began later.
    Invariant: no item is drawn more than `most_draws` times, if that is not 0.
    """

    def __init__(
        self, items: ItemSet, sampler: Sampler, limiter: RateLimiter, settings: TableSettings, rng: np.random.Generator
    ) -> None:
        self._items, self._sampler, self._limiter, self._rng = items, sampler, limiter, rng
        self.hold_starts_after_s = np.inf
        self.most_draws = _most_draws(settings, sampler)

    def can_serve(self, size: int) -> bool:
        """Whether the items suffice for a batch, whatever the limiter says. Draws with replacement need but one item."""
        distinct = self._sampler.takes_out or self.most_draws > 0
        return self._sampler.ready(self.hold_starts_after_s) >= (size if distinct else 1)

    def choose(self, size: int, batches: int, all_or_none: bool) -> Chosen | None:
        """Up to `batches` batches of `size`, or None; exactly as many if `all_or_none`."""
        admitted = self._admitted(size, batches, all_or_none)
        if admitted == 0 or not self.can_serve(size * batches if all_or_none else size):
            return None
        if self.most_draws == 0 or self._sampler.takes_out:
            positions, probability = self._sampler.draw(size, admitted, self.hold_starts_after_s, self._rng)
            return positions, probability, self._items.count_draws(positions)
        chosen = [self._choose_limited(size)]
        while len(chosen) < admitted and self.can_serve(size):
            chosen.append(self._choose_limited(size))
        positions, probability, times = (np.concatenate(parts) for parts in zip(*chosen, strict=True))
        return positions, probability, times

    def _admitted(self, size: int, batches: int, all_or_none: bool) -> int:
        """Batches that the limiter admits, each charged before the next is looked at; a round for several ranks counts as one."""
        if all_or_none:
            return batches if self._limiter.can_sample() else 0
        cost = size * (self._items.mean_duration_s() if self._limiter.counts_seconds else 1.0)
        return next((n for n in range(batches) if not self._limiter.can_sample(ahead=n * cost)), batches)

    def _choose_limited(self, size: int) -> Chosen:
        """One batch in which no item is drawn more often than it may be: what was drawn too often is drawn anew from the rest.

        It ends because at least `size` items can each be drawn once more.
        """
        positions, probability, times = np.empty(size, np.int64), np.empty(size), np.empty(size, np.uint32)
        lacking = np.arange(size)
        while len(lacking):
            drawn, chance = self._sampler.draw(len(lacking), 1, self.hold_starts_after_s, self._rng)
            counted = self._items.count_draws(drawn, self.most_draws)
            positions[lacking], probability[lacking], times[lacking] = drawn, chance, counted
            self._sampler.discard(drawn[counted == self.most_draws])
            lacking = lacking[counted == 0]
        return positions, probability, times


def _most_draws(settings: TableSettings, sampler: Sampler) -> int:
    """Times that an item is drawn before it leaves, 0 for no limit.

    A FIFO table that does not consume makes one pass unless it is told to make more: then a drawn item queues up again at the end.
    """
    if settings.consume:
        return 0
    return max(1, settings.max_times_sampled) if sampler.takes_out else settings.max_times_sampled
