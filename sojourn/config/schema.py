"""The typed configuration of a run: one frozen model per section, one line per field, units in names.

No torch, no I/O. `sojourn.config.load` reads files and overrides into these models. Defaults are those of a laptop run of SAC.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sojourn.config.algorithms import AlgorithmSettings, NetworkSettings, SacSettings
from sojourn.config.plugin_names import Remover, Sampler, Weight


class Section(BaseModel):
    """A section of the file: frozen, and an unknown key is an error. `name: 12` is the text "12"."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)


COLUMN_NAME = r"^[a-z][a-z0-9_]*$"
DEVICE = r"^(auto|cpu|cuda(:\d+)?)$"


class RunSettings(Section):
    """When a run ends and where it is kept."""

    name: str = ""  # folder under `folder`; empty: made from environment, algorithm, seed and time
    folder: str = "runs"
    seed: int = Field(1, ge=0)
    env_steps: int = Field(1_000_000, gt=0)  # accepted environment steps after which the run ends
    minutes: float | None = Field(None, gt=0)  # ends earlier after so long
    target_return: float | None = None  # ends earlier when an evaluation's mean reaches it
    expected_return: float | None = None  # printed beside the reached one
    init_from: str = ""  # run folder or checkpoint whose policy to start from


ROW_COLUMNS = (
    "lane",
    "sequence",
    "episode",
    "kind",
    "reward",
    "duration_s",
    "start_age_s",
    "log_prob",
    "policy_version",
    "priority",
)
BATCH_COLUMNS = (
    "observation",
    "next_observation",
    "action",
    "core_state",
    "info",
    "terminated",
    "truncated",
    "end_kind",
    "mask",
    "length",
)


class ExtraColumn(Section):
    """An extra column read from `info[key]` of every step (or of reset, for scope episode)."""

    name: str = Field(pattern=COLUMN_NAME)
    dtype: Literal["float32", "float64", "int64", "int32", "uint8", "bool"] = "float32"
    shape: tuple[int, ...] = ()
    ragged_max: int = Field(0, ge=0)
    scope: Literal["step", "episode"] = "step"
    info_key: str = ""  # empty: the same as `name`
    default: float = 0.0  # value where info lacks the key
    task: bool = False  # labels tasks in statistics and weightings

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in ROW_COLUMNS + BATCH_COLUMNS:
            raise ValueError(
                f"extra column {name!r} has the name of a column that every row has; choose another, with info_key: {name}"
            )
        return name


class EnvironmentSettings(Section):
    """The environment and how its steps are treated."""

    id: str = "Pendulum-v1"  # Gymnasium id, "module:Id" or "package.module:factory"
    kwargs: dict[str, Any] = {}
    wrappers: tuple[str, ...] = ()  # "package.module:attr", applied in order
    wrapper_kwargs: tuple[dict[str, Any], ...] = ()  # one per wrapper, or empty
    frame_stack: int = Field(1, ge=1, le=16)
    max_episode_steps: int | None = Field(None, gt=0)
    storage_dtype: Literal["float32", "same"] = "float32"
    extras: tuple[ExtraColumn, ...] = ()
    step_timeout_s: float = Field(120.0, gt=0)  # an action that lasts longer is killed
    killed_reward: float = 0.0
    on_kill: Literal["truncated", "terminated"] = "truncated"
    faults_in_a_row: int = Field(20, ge=1)  # episodes that failed or crashed in a row, after which an actor gives up
    normalise_observation: bool = False
    normalise_reward: bool = False


class DurationSettings(Section):
    """Which clock durations are on. With `env` they are info["duration_s"]."""

    clock: Literal["wall", "env"] = "wall"
    time_unit_s: float = Field(1.0, gt=0)  # the discount is per so many seconds where an objective discounts in time
    pool_shares: dict[str, float] = {}  # wanted share of each actor pool, for `weight: pool`; empty: equal

    @field_validator("pool_shares")
    @classmethod
    def _positive(cls, shares: dict[str, float]) -> dict[str, float]:
        for pool, share in shares.items():
            if share <= 0.0:
                raise ValueError(f"the share of pool {pool!r} must be above 0, got {share:g}")
        return shares


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
        self._check_draw()
        return self

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
        if self.duration.rule not in ("auto", "one"):
            raise ValueError(
                f"duration.apply: draw needs a rule that is known at insertion; {self.duration.rule} is estimated later: write apply: weight"
            )


class ReplaySettings(Section):
    """The replay service."""

    shards: int = Field(1, ge=1, le=256)
    addresses: tuple[str, ...] = ()  # running services; empty: started with the run
    durability: Literal["memory", "process", "disk", "replica"] = "process"
    redis_url: str = ""  # redis:// or unix://; empty: an embedded server
    redis_memory_bytes: int = Field(4_000_000_000, ge=16_000_000)
    max_message_bytes: int = Field(8_388_608, ge=65_536)
    insert_window: int = Field(16, ge=1, le=1024)
    snapshot_every_s: float = Field(1.0, gt=0)


class ParameterSettings(Section):
    """The parameter service."""

    address: str = ""  # a running service; empty: started with the run


class FleetSettings(Section):
    """Actors of one kind."""

    replicas: int = Field(1, ge=0, le=100_000)
    rollout: Literal["lockstep", "asynchronous"] = "lockstep"
    environments: int = Field(1, ge=1, le=4096)  # slots per actor
    segment_steps: int = Field(64, ge=1)
    flush_bytes: int = Field(262_144, ge=1_024)
    flush_age_s: float = Field(1.0, gt=0)
    threads: int = Field(1, ge=1)
    pool: str = ""
    speed_class: str = ""
    environment: EnvironmentSettings | None = None  # a fleet's own environment; None: the run's

    @property
    def flush_steps(self) -> int:
        """Steps that make a message even below flush_bytes: a segment of every slot, so that limiters can pace and policies stay fresh."""
        return self.segment_steps * self.environments


class ActorSettings(FleetSettings):
    """The default fleet, and further named ones."""

    fleets: dict[str, FleetSettings] = {}
    outage_buffer_bytes: int = Field(268_435_456, ge=1_000_000)


class LearnerSettings(Section):
    """The learners."""

    replicas: int = Field(1, ge=1, le=64)
    device: str = Field("auto", pattern=DEVICE)  # auto | cpu | cuda | cuda:N
    threads: int = Field(1, ge=1)
    batch_size: int = Field(256, ge=1)
    prefetch: int = Field(16, ge=1)  # batches asked for ahead of use
    batches_per_message: int = Field(8, ge=1, le=64)
    table: str = "replay"  # the table that it draws from
    publish_every_s: float = Field(0.5, ge=0)
    checkpoint_every_s: float = Field(60.0, gt=0)
    keep_checkpoints: int = Field(3, ge=1)
    ess_floor: float = Field(0.0, ge=0, lt=1)
    steps: int | None = Field(None, gt=0)  # learner steps after which the run ends


class EvaluationSettings(Section):
    """Evaluation of the deterministic policy."""

    every_env_steps: int = Field(10_000, gt=0)
    episodes: int = Field(10, ge=1)
    video: bool = False
    video_every: int = Field(5, ge=1)  # evaluations between videos


class MetricsSettings(Section):
    """Prometheus endpoints."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535)  # of the first role; 0: any free port per process


class Config(Section):
    """The whole file."""

    run: RunSettings = RunSettings()
    environment: EnvironmentSettings = EnvironmentSettings()
    duration: DurationSettings = DurationSettings()
    objective: Literal["per_attempt", "per_second", "discounted_in_time"] = "per_attempt"
    reward_timing: Literal["start", "end", "spread"] = "start"
    algorithm: AlgorithmSettings = SacSettings()
    network: NetworkSettings = NetworkSettings()
    tables: dict[str, TableSettings] = {"replay": TableSettings()}
    replay: ReplaySettings = ReplaySettings()
    parameters: ParameterSettings = ParameterSettings()
    actors: ActorSettings = ActorSettings()
    learners: LearnerSettings = LearnerSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _possible(self) -> "Config":
        pools = {fleet.pool for fleet in (self.actors, *self.actors.fleets.values())}
        if self.duration.pool_shares and (unnamed := pools - set(self.duration.pool_shares)):
            raise ValueError(f"duration.pool_shares names no share for the actors' pools {sorted(unnamed)}")
        if self.learners.table not in self.tables:
            raise ValueError(f"learners.table {self.learners.table!r} is not among tables: {', '.join(self.tables) or 'none'}")
        table = self.tables[self.learners.table]
        if table.limiter.tolerance is not None and table.limiter.tolerance < self.learners.batch_size:
            raise ValueError(
                f"tables.{self.learners.table}.limiter.tolerance {table.limiter.tolerance:g} is below one batch of "
                f"{self.learners.batch_size}: inserts and draws would wait for each other for ever"
            )
        if self.learners.replicas > 1:
            raise ValueError(f"learners.replicas {self.learners.replicas} is not available: one learner trains; write 1")
        if self.actors.replicas == 0 and not self.actors.fleets:
            raise ValueError("actors.replicas is 0 and there is no other fleet: nothing would ever be inserted")
        return self
