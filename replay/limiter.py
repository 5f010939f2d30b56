"""How fast may samples be drawn for what was inserted? Counts both sides and says which may go on. No clock, no waiting.

As in Reverb, where `diff` is our surplus plus an offset, except that a side is admitted first and charged afterwards, so either bound is
passed by at most one message or batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sojourn.config.schema import LimiterSettings
from sojourn.errors import ConfigError


@dataclass(frozen=True)
class Traffic:
    """What a store's learners ask for at a time, from which default tolerances are reckoned."""

    batch_size: int = 256
    batches_per_message: int = 8


class RateLimiter:
    """Keeps (inserts - min_size) x samples_per_insert - samples between -tolerance and tolerance.

    Inserts are admitted while that surplus <= tolerance, and always before `min_size` items; samples are admitted from `min_size` items
    on while it is >= -tolerance. Each is charged after it was admitted. With unit `seconds` both sides count seconds of experience,
    an item at most `seconds_cap`; `min_size` still counts items, whose seconds are free. Without samples_per_insert only
    `min_size` holds. What the run begins with (`replay.initial`) counts towards `min_size` and is free, as the first `min_size` items are:
    nobody owes samples for what was not collected, nor draws ahead on it. What other shards of the run have counted is added on both sides where items are counted (`others`), so that the run's
    ratio is kept over all shards: a new one would otherwise wait for draws that follow priorities it has not got yet. Invariant: inserts and samples are never both refused, since the surplus cannot lie beyond both bounds.
    """

    def __init__(self, settings: LimiterSettings, default_tolerance: float) -> None:
        """default_tolerance: in items, where the settings give none; with unit `seconds` times the mean seconds of an item so far."""
        self._settings = settings
        self._default_tolerance = default_tolerance
        self.takes_no_inserts = False  # what is there may then be drawn as often as the learner wants
        self.inserts_are_imports = False  # what comes now is what the run begins with
        self.inserted_items = self.imported_items = 0
        self.sampled_items = 0
        self._other_inserted = self._other_sampled = self._other_imported = 0
        self._inserted = 0.0  # charged, free items included
        self._free = 0.0  # what these were charged
        self._sampled = 0.0

    @property
    def counts_seconds(self) -> bool:
        return self._settings.unit == "seconds"

    @property
    def tolerance(self) -> float:
        """In samples, or in seconds of experience."""
        if self._settings.tolerance is not None:
            return self._settings.tolerance
        return self._default_tolerance * self._mean_charge

    @property
    def _mean_charge(self) -> float:
        """What an item was charged so far, in the limiter's unit."""
        return self._inserted / max(1, self.inserted_items) if self.counts_seconds else 1.0

    @property
    def surplus(self) -> float:
        """Samples that are owed (above 0) or were drawn ahead (below), in the limiter's unit. 0 without samples_per_insert."""
        if self._settings.samples_per_insert is None:
            return 0.0
        imported = self.imported_items + self._other_imported
        free = self._free if self.counts_seconds else max(self._settings.min_size, imported)
        inserted, sampled = self._inserted + self._other_inserted, self._sampled + self._other_sampled
        return (inserted - free) * self._settings.samples_per_insert - sampled

    def others(self, inserted_items: int, sampled_items: int, imported_items: int = 0) -> None:
        """What all other shards have counted, as a learner knows it; of no use where seconds are counted."""
        if not self.counts_seconds:
            self._other_inserted, self._other_sampled, self._other_imported = inserted_items, sampled_items, imported_items

    @property
    def _items_of_all(self) -> int:
        return self.inserted_items + self._other_inserted

    def can_insert(self, ahead: int = 0) -> bool:
        """Whether a message is admitted once `ahead` more items, of the mean duration so far, have been charged."""
        if self._items_of_all + ahead < self._settings.min_size:
            return True
        free = max(0, self._settings.min_size - self.inserted_items) if self.counts_seconds else 0
        charge = max(0, ahead - free) * self._mean_charge * (self._settings.samples_per_insert or 0.0)
        return self.surplus + charge <= self.tolerance

    def can_sample(self, ahead: float = 0.0) -> bool:
        """Whether a batch is admitted once `ahead` more (in the limiter's unit) has been charged."""
        if self.takes_no_inserts:
            return True
        return self._items_of_all >= self._settings.min_size and self.surplus - ahead >= -self.tolerance

    def charge_insert(self, items: int, seconds: float) -> None:
        """Count new items. seconds: the sum of their durations, each capped; read only where seconds are counted."""
        if items == 0:
            return
        charge = seconds if self.counts_seconds else float(items)
        free_items = items if self.inserts_are_imports else max(0, min(self._settings.min_size - self.inserted_items, items))
        self.inserted_items += items
        self.imported_items += items if self.inserts_are_imports else 0
        self._inserted += charge
        self._free += charge * free_items / items

    def charge_sample(self, items: int, seconds: float) -> None:
        """Count drawn items."""
        self.sampled_items += items
        self._sampled += seconds if self.counts_seconds else items

    def state(self) -> dict[str, float]:
        """What `restore` needs, ready for JSON."""
        return {
            "inserted_items": self.inserted_items,
            "imported_items": self.imported_items,
            "sampled_items": self.sampled_items,
            "inserted": self._inserted,
            "free": self._free,
            "sampled": self._sampled,
        }

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from another life's counts."""
        self.inserted_items = int(state["inserted_items"])
        self.imported_items = int(state.get("imported_items", 0))
        self.sampled_items = int(state["sampled_items"])
        self._inserted = float(state["inserted"])
        self._free = float(state["free"])
        self._sampled = float(state["sampled"])

    def check(self) -> None:
        """Not both sides may be refused."""
        assert self.can_insert() or self.can_sample(), f"deadlock at surplus {self.surplus}, {self.inserted_items} items"


def make_limiter(settings: LimiterSettings, name: str, traffic: Traffic) -> RateLimiter:
    """The table's limiter. Raises ConfigError for a tolerance below one batch, with which both sides could wait for each other.

    The default tolerance is two messages of `batches_per_message` batches: enough that neither side waits for a message to fill, and
    little beside what actors would otherwise collect under parameters that grow old.
    """
    batch_size = traffic.batch_size
    if settings.tolerance is not None and settings.unit == "items" and settings.tolerance < batch_size:
        raise ConfigError(
            f"tables.{name}.limiter.tolerance {settings.tolerance:g} is below one batch of {batch_size}: inserts and draws would wait "
            "for each other for ever; raise it or leave it out"
        )
    return RateLimiter(settings, 2.0 * batch_size * traffic.batches_per_message)
