"""The settings of replay tables, and which of them contradict each other. No torch, no I/O."""

from typing import Literal

from pydantic import Field, model_validator

from sojourn.config.plugin_names import Remover, Sampler, Weight
from sojourn.config.section import Section


class LimiterSettings(Section):
    """How fast samples may be drawn for what was inserted."""

    samples_per_insert: float | None = Field(256.0, gt=0)  # None: no limit either way
    min_size: int = Field(1_000, ge=1)  # items before the first draw
    tolerance: float | None = Field(None, gt=0)  # in samples; None: chosen from batch and message size
    unit: Literal["items", "seconds"] = "items"
    seconds_cap: float = Field(60.0, gt=0)  # an item's duration counts at most so much


class TableDurationSettings(Section):
    """Duration weighting of a table's draws (docs/duration.md)."""

    weight: Weight = "inclusion"  # none | linear | inclusion | pool | package.module:attr
    rule: Literal["auto", "one", "window", "episode_window", "censoring", "start_rate"] = "auto"  # which law inclusion corrects
    apply: Literal["weight", "draw"] = "weight"
    applies_to: Literal["policy", "all"] | None = None  # None: policy for linear, all for the others
    cap: float | None = Field(None, gt=0)  # on the normalised weight; None: sqrt(batch size)


class TableSettings(Section):
    """One table: which items it makes of the rows, and how they are drawn and removed."""

    item: Literal["transition", "sequence", "segment"] = "transition"
    n_step: int = Field(1, ge=1, le=64)
    length: int = Field(80, ge=1)  # sequence and segment: steps
    period: int = Field(40, ge=1)  # sequence: steps between starts
    burn_in: int = Field(0, ge=0)  # sequence: first steps that only warm the state
    capacity_steps: int = Field(1_000_000, ge=64)
    capacity_bytes: int = Field(2_000_000_000, ge=1_000_000)
    sampler: Sampler = "prioritised"  # prioritised | uniform | fifo | package.module:attr
    priority_exponent: float = Field(0.6, ge=0, le=2)
    importance_exponent: float = Field(0.4, ge=0, le=1)
    importance_exponent_end: float = Field(1.0, ge=0, le=1)  # reached linearly at run.env_steps
    remover: Remover = "fifo"  # fifo | lowest_priority | start_age | version_age | package.module:attr
    horizon_s: float | None = Field(None, gt=0)  # start_age: items leave so long after their first action began
    horizon_versions: int | None = Field(None, ge=0)  # version_age: items leave when their policy is more versions old
    max_staleness: int | None = Field(None, ge=0)  # policy versions that an item may be behind
    on_stale: Literal["gate", "drop", "none"] = "gate"  # what sees to it: starts wait, late items are dropped, or nothing does
    max_times_sampled: int = Field(0, ge=0)  # 0: no limit
    order: Literal["completion", "start"] = "completion"  # fifo sampler only
    consume: bool = False  # drawn items are leased and removed when consumed (fifo tables)
    limiter: LimiterSettings = LimiterSettings()
    duration: TableDurationSettings = TableDurationSettings()

    @model_validator(mode="after")
    def _possible(self) -> "TableSettings":
        if self.limiter.min_size > self.capacity_steps:
            raise ValueError(
                f"limiter.min_size {self.limiter.min_size} is above capacity_steps {self.capacity_steps}: no draw could ever be made"
            )
        if self.item == "sequence" and self.burn_in >= self.length:
            raise ValueError(f"burn_in {self.burn_in} must be below length {self.length}")
        if self.order == "start" and self.sampler != "fifo":
            raise ValueError(f"order: start needs sampler: fifo, got {self.sampler}")
        if self.consume and self.sampler != "fifo":
            raise ValueError(f"consume needs sampler: fifo, got {self.sampler}")
        if self.consume and self.max_times_sampled > 1:
            raise ValueError("a consuming table hands each item out once: leave max_times_sampled at 0")
        if self.max_staleness is not None and self.on_stale == "gate" and self.sampler != "fifo":
            raise ValueError(
                f"on_stale: gate needs sampler: fifo, which consumes what it drew; got {self.sampler}: write drop or none"
            )
        self._check_horizons()
        self._check_losses()
        self._check_draw()
        return self

    @property
    def most_steps(self) -> int:
        """Steps that an item holds at most."""
        return self.n_step if self.item == "transition" else self.length

    @property
    def steps_per_item(self) -> int:
        """Environment steps for each of which there is no other item."""
        if self.item == "transition":
            return 1
        return min(self.period, self.length) if self.item == "sequence" else self.length

    def _check_horizons(self) -> None:
        for remover, key, horizon in (
            ("start_age", "horizon_s", self.horizon_s),
            ("version_age", "horizon_versions", self.horizon_versions),
        ):
            if (self.remover == remover) != (horizon is not None):
                raise ValueError(
                    f"remover: start_age needs horizon_s and version_age horizon_versions, no other one; got {key}: "
                    f"{horizon} with remover: {self.remover}"
                )

    @property
    def drops_stale(self) -> bool:
        """Whether late items never enter."""
        return self.max_staleness is not None and self.on_stale == "drop"

    def _check_losses(self) -> None:
        """Inclusion makes up for one way of losing actions; a second one would stay as it is, unseen.

        What cuts actions short also cuts items short, and leaves their first steps: no one weight is right for all steps of an item.
        Measured in windows that truly have .500 slow actions: items of one step .502, three-step items .466, segments of five .424.
        """
        if self.duration.weight not in ("inclusion", "pool"):
            return
        if self.duration.rule in ("window", "episode_window", "censoring") and self.most_steps > 1:
            key = "n_step" if self.item == "transition" else "length"
            raise ValueError(
                f"duration.rule: {self.duration.rule} weighs items of one step, got {key}: {self.most_steps}: write {key}: 1, "
                "or duration.weight: none"
            )
        ways = {
            f"duration.rule: {self.duration.rule}": self.duration.rule not in ("auto", "one"),
            f"remover: {self.remover}": self.remover in ("start_age", "version_age"),
            "on_stale: drop": self.drops_stale,
        }
        found = [way for way, loses in ways.items() if loses]
        if len(found) > 1 and self.duration.rule != "one":
            raise ValueError(
                f"{' and '.join(found)} lose actions in {len(found)} ways, and duration.weight: {self.duration.weight} makes up for "
                "one of them: keep one, or write duration.weight: none"
            )

    def _check_draw(self) -> None:
        """Draws can follow a weight only if it is known when the item is made."""
        if self.duration.apply == "weight":
            return
        if self.sampler not in ("prioritised", "uniform"):
            raise ValueError(f"duration.apply: draw needs sampler: prioritised or uniform, got {self.sampler}")
        if self.duration.weight not in ("none", "linear", "inclusion"):
            raise ValueError(
                f"duration.apply: draw needs a weight that is known at insertion: linear or inclusion, got {self.duration.weight}"
            )
        if self.duration.applies_to == "policy" and self.duration.weight != "none":
            raise ValueError(
                "duration.apply: draw weighs every loss, since it decides what is drawn: leave applies_to out, or write apply: weight"
            )
        if self.drops_stale and self.duration.weight == "inclusion" and self.duration.rule == "auto":
            raise ValueError(
                "duration.apply: draw needs a rule that is known at insertion; what on_stale: drop loses is estimated later: "
                "write apply: weight"
            )
        if self.duration.rule not in ("auto", "one"):
            raise ValueError(
                f"duration.apply: draw needs a rule that is known at insertion; {self.duration.rule} is estimated later: write apply: weight"
            )
