"""The typed configuration of a run: one frozen model per section, one line per field, units in names.

No torch, no I/O. `sojourn.config.load` reads files and overrides into these models. Defaults are those of a laptop run of SAC.
"""

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from sojourn.config.algorithms import AlgorithmSettings, NetworkSettings, SacSettings
from sojourn.config.section import Section
from sojourn.config.tables import LimiterSettings, TableDurationSettings, TableSettings

__all__ = [
    "ActorSettings",
    "Config",
    "DurationSettings",
    "EnvironmentSettings",
    "EvaluationSettings",
    "ExtraColumn",
    "FleetSettings",
    "LearnerSettings",
    "LimiterSettings",
    "MetricsSettings",
    "ParameterSettings",
    "ReplaySettings",
    "RunSettings",
    "Section",
    "TableDurationSettings",
    "TableSettings",
]

COLUMN_NAME = r"^[a-z][a-z0-9_]*$"
REDIS_URL = r"^(|(rediss?|unix)://.+)$"
RENDEZVOUS = r"^(|[^:]+:\d+)$"
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
    "idle_s",
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
    kwargs: dict[str, Any] = Field(default_factory=dict)
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
    pool_shares: dict[str, float] = Field(
        default_factory=dict
    )  # wanted share of each actor pool, for `weight: pool`; empty: equal

    @field_validator("pool_shares")
    @classmethod
    def _positive(cls, shares: dict[str, float]) -> dict[str, float]:
        for pool, share in shares.items():
            if share <= 0.0:
                raise ValueError(f"the share of pool {pool!r} must be above 0, got {share:g}")
        return shares


class ReplaySettings(Section):
    """The replay service."""

    shards: int = Field(1, ge=1, le=256)
    addresses: tuple[str, ...] = ()  # running services; empty: started with the run
    durability: Literal["memory", "process", "disk", "replica"] = "process"
    redis_url: str = Field("", pattern=REDIS_URL)  # redis://, rediss:// or unix://; empty: an embedded server
    redis_memory_bytes: int = Field(4_000_000_000, ge=16_000_000)
    max_message_bytes: int = Field(8_388_608, ge=65_536)
    insert_window: int = Field(16, ge=1, le=1024)
    snapshot_every_s: float = Field(1.0, gt=0)
    initial: str = ""  # experience to begin with: a folder of `sojourn export`, or a Minari dataset's folder or id


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

    fleets: dict[str, FleetSettings] = Field(default_factory=dict)
    outage_buffer_bytes: int = Field(268_435_456, ge=1_000_000)  # in memory
    outage_spill_bytes: int = Field(1_073_741_824, ge=0)  # then on disk, RUN/spill; 0: none


class LearnerSettings(Section):
    """The learners."""

    replicas: int = Field(1, ge=1, le=64)  # ranks: processes that make every update together, each with a batch of its own
    device: str = Field("auto", pattern=DEVICE)  # auto | cpu | cuda | cuda:N
    threads: int = Field(1, ge=1)
    precision: Literal["float32", "bfloat16"] = "float32"  # that hidden layers multiply in; parameters are float32
    cuda_graphs: bool = False  # on a GPU: an update is launched by one call; sac
    batch_size: int = Field(256, ge=1)
    prefetch: int = Field(16, ge=1)  # batches asked for ahead of use
    batches_per_message: int = Field(8, ge=1, le=64)
    rendezvous: str = Field("", pattern=RENDEZVOUS)  # host:port where rank 0 waits for the others; empty: any, announced
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
    port: int = Field(0, ge=0, le=65_535)  # the first that a role tries, then the next one; 0: any free port


class Config(Section):
    """The whole file."""

    run: RunSettings = RunSettings()
    environment: EnvironmentSettings = EnvironmentSettings()
    duration: DurationSettings = DurationSettings()
    objective: Literal["per_attempt", "per_second", "discounted_in_time"] = "per_attempt"
    reward_timing: Literal["start", "end", "spread"] = "start"
    lineage: Literal["off", "manifest", "full"] = "manifest"  # what is written down of what was learned from (docs/lineage.md)
    algorithm: AlgorithmSettings = SacSettings()
    network: NetworkSettings = NetworkSettings()
    tables: dict[str, TableSettings] = Field(default_factory=lambda: {"replay": TableSettings()})
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
        if self.learners.cuda_graphs and self.learners.replicas > 1:
            raise ValueError("learners.cuda_graphs captures no averages over ranks: write false, or learners.replicas: 1")
        if self.learners.table not in self.tables:
            raise ValueError(f"learners.table {self.learners.table!r} is not among tables: {', '.join(self.tables) or 'none'}")
        table = self.tables[self.learners.table]
        if table.limiter.tolerance is not None and table.limiter.tolerance < self.learners.batch_size:
            raise ValueError(
                f"tables.{self.learners.table}.limiter.tolerance {table.limiter.tolerance:g} is below one batch of "
                f"{self.learners.batch_size}: inserts and draws would wait for each other for ever"
            )
        if self.learners.replicas > 1 and self.lineage == "full":
            raise ValueError(
                "lineage: full is for repeating the updates of one learner: write learners.replicas: 1, or lineage: manifest"
            )
        if self.lineage == "full" and self.replay.durability == "memory":
            raise ValueError(
                "lineage: full archives rows by their numbers, which begin anew after a restart at replay.durability: memory: write "
                "process, or lineage: manifest"
            )
        if self.actors.replicas == 0 and not self.actors.fleets:
            raise ValueError("actors.replicas is 0 and there is no other fleet: nothing would ever be inserted")
        return self
