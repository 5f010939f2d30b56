from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_ACTOR: _ClassVar[Role]
    ROLE_LEARNER: _ClassVar[Role]
    ROLE_EVALUATOR: _ClassVar[Role]
    ROLE_OPERATOR: _ClassVar[Role]

class EndKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    END_KIND_COMPLETED: _ClassVar[EndKind]
    END_KIND_KILLED: _ClassVar[EndKind]
    END_KIND_FAILED: _ClassVar[EndKind]
    END_KIND_ABORTED: _ClassVar[EndKind]
    END_KIND_CRASHED: _ClassVar[EndKind]
ROLE_UNSPECIFIED: Role
ROLE_ACTOR: Role
ROLE_LEARNER: Role
ROLE_EVALUATOR: Role
ROLE_OPERATOR: Role
END_KIND_COMPLETED: EndKind
END_KIND_KILLED: EndKind
END_KIND_FAILED: EndKind
END_KIND_ABORTED: EndKind
END_KIND_CRASHED: EndKind

class HelloRequest(_message.Message):
    __slots__ = ("contract_version", "role", "run_id", "client_id", "last_incarnation", "schema_json", "inherit_incarnation", "pool", "speed_class", "host", "environment_id", "environment_version", "seed", "learner_group", "rank", "world")
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    LAST_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    INHERIT_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    SPEED_CLASS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    LEARNER_GROUP_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    WORLD_FIELD_NUMBER: _ClassVar[int]
    contract_version: int
    role: Role
    run_id: str
    client_id: str
    last_incarnation: int
    schema_json: bytes
    inherit_incarnation: int
    pool: str
    speed_class: str
    host: str
    environment_id: str
    environment_version: str
    seed: int
    learner_group: str
    rank: int
    world: int
    def __init__(self, contract_version: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., run_id: _Optional[str] = ..., client_id: _Optional[str] = ..., last_incarnation: _Optional[int] = ..., schema_json: _Optional[bytes] = ..., inherit_incarnation: _Optional[int] = ..., pool: _Optional[str] = ..., speed_class: _Optional[str] = ..., host: _Optional[str] = ..., environment_id: _Optional[str] = ..., environment_version: _Optional[str] = ..., seed: _Optional[int] = ..., learner_group: _Optional[str] = ..., rank: _Optional[int] = ..., world: _Optional[int] = ...) -> None: ...

class HelloReply(_message.Message):
    __slots__ = ("contract_version", "run_id", "incarnation", "last_message_number", "schema_json", "shard_index", "shard_count", "service_incarnation", "max_message_bytes", "insert_window", "durability", "tables", "gated")
    CONTRACT_VERSION_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LAST_MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    SHARD_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    SERVICE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    MAX_MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    INSERT_WINDOW_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    GATED_FIELD_NUMBER: _ClassVar[int]
    contract_version: int
    run_id: str
    incarnation: int
    last_message_number: int
    schema_json: bytes
    shard_index: int
    shard_count: int
    service_incarnation: int
    max_message_bytes: int
    insert_window: int
    durability: str
    tables: _containers.RepeatedScalarFieldContainer[str]
    gated: bool
    def __init__(self, contract_version: _Optional[int] = ..., run_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., last_message_number: _Optional[int] = ..., schema_json: _Optional[bytes] = ..., shard_index: _Optional[int] = ..., shard_count: _Optional[int] = ..., service_incarnation: _Optional[int] = ..., max_message_bytes: _Optional[int] = ..., insert_window: _Optional[int] = ..., durability: _Optional[str] = ..., tables: _Optional[_Iterable[str]] = ..., gated: _Optional[bool] = ...) -> None: ...

class InsertRequest(_message.Message):
    __slots__ = ("client_id", "incarnation", "message_number", "held_s", "rows", "final")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    HELD_S_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    message_number: int
    held_s: float
    rows: bytes
    final: bool
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., message_number: _Optional[int] = ..., held_s: _Optional[float] = ..., rows: _Optional[bytes] = ..., final: _Optional[bool] = ...) -> None: ...

class InsertReply(_message.Message):
    __slots__ = ("message_number", "outcome", "reason", "env_steps")
    class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ACCEPTED: _ClassVar[InsertReply.Outcome]
        DUPLICATE: _ClassVar[InsertReply.Outcome]
        REFUSED: _ClassVar[InsertReply.Outcome]
    ACCEPTED: InsertReply.Outcome
    DUPLICATE: InsertReply.Outcome
    REFUSED: InsertReply.Outcome
    MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    message_number: int
    outcome: InsertReply.Outcome
    reason: str
    env_steps: int
    def __init__(self, message_number: _Optional[int] = ..., outcome: _Optional[_Union[InsertReply.Outcome, str]] = ..., reason: _Optional[str] = ..., env_steps: _Optional[int] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("client_id", "incarnation", "lanes", "running", "uptime_s", "counted_at_message", "report_age_s")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LANES_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    COUNTED_AT_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REPORT_AGE_S_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    lanes: _containers.RepeatedCompositeFieldContainer[LaneCounters]
    running: _containers.RepeatedCompositeFieldContainer[RunningAction]
    uptime_s: float
    counted_at_message: int
    report_age_s: float
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., lanes: _Optional[_Iterable[_Union[LaneCounters, _Mapping]]] = ..., running: _Optional[_Iterable[_Union[RunningAction, _Mapping]]] = ..., uptime_s: _Optional[float] = ..., counted_at_message: _Optional[int] = ..., report_age_s: _Optional[float] = ...) -> None: ...

class LaneCounters(_message.Message):
    __slots__ = ("lane", "started", "completed", "killed", "failed", "aborted", "crashed", "ended_without_row_s")
    LANE_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    KILLED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    ABORTED_FIELD_NUMBER: _ClassVar[int]
    CRASHED_FIELD_NUMBER: _ClassVar[int]
    ENDED_WITHOUT_ROW_S_FIELD_NUMBER: _ClassVar[int]
    lane: int
    started: int
    completed: int
    killed: int
    failed: int
    aborted: int
    crashed: int
    ended_without_row_s: float
    def __init__(self, lane: _Optional[int] = ..., started: _Optional[int] = ..., completed: _Optional[int] = ..., killed: _Optional[int] = ..., failed: _Optional[int] = ..., aborted: _Optional[int] = ..., crashed: _Optional[int] = ..., ended_without_row_s: _Optional[float] = ...) -> None: ...

class RunningAction(_message.Message):
    __slots__ = ("lane", "action_number", "age_s", "policy_version", "task", "episode_age_s", "ended", "has_ended", "ended_ago_s")
    LANE_FIELD_NUMBER: _ClassVar[int]
    ACTION_NUMBER_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    EPISODE_AGE_S_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    HAS_ENDED_FIELD_NUMBER: _ClassVar[int]
    ENDED_AGO_S_FIELD_NUMBER: _ClassVar[int]
    lane: int
    action_number: int
    age_s: float
    policy_version: int
    task: str
    episode_age_s: float
    ended: EndKind
    has_ended: bool
    ended_ago_s: float
    def __init__(self, lane: _Optional[int] = ..., action_number: _Optional[int] = ..., age_s: _Optional[float] = ..., policy_version: _Optional[int] = ..., task: _Optional[str] = ..., episode_age_s: _Optional[float] = ..., ended: _Optional[_Union[EndKind, str]] = ..., has_ended: _Optional[bool] = ..., ended_ago_s: _Optional[float] = ...) -> None: ...

class HeartbeatReply(_message.Message):
    __slots__ = ("start_credits", "gated", "insert_pause_s", "env_steps", "learner_step", "retired")
    START_CREDITS_FIELD_NUMBER: _ClassVar[int]
    GATED_FIELD_NUMBER: _ClassVar[int]
    INSERT_PAUSE_S_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    LEARNER_STEP_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    start_credits: int
    gated: bool
    insert_pause_s: float
    env_steps: int
    learner_step: int
    retired: bool
    def __init__(self, start_credits: _Optional[int] = ..., gated: _Optional[bool] = ..., insert_pause_s: _Optional[float] = ..., env_steps: _Optional[int] = ..., learner_step: _Optional[int] = ..., retired: _Optional[bool] = ...) -> None: ...

class SampleRequest(_message.Message):
    __slots__ = ("client_id", "incarnation", "table", "batch_size", "credits", "max_batches_per_message", "learner_step", "release_draws", "share", "policy_version", "other_inserted_items", "other_sampled_items", "other_imported_items")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    CREDITS_FIELD_NUMBER: _ClassVar[int]
    MAX_BATCHES_PER_MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LEARNER_STEP_FIELD_NUMBER: _ClassVar[int]
    RELEASE_DRAWS_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    OTHER_INSERTED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    OTHER_SAMPLED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    OTHER_IMPORTED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    table: str
    batch_size: int
    credits: int
    max_batches_per_message: int
    learner_step: int
    release_draws: _containers.RepeatedScalarFieldContainer[int]
    share: float
    policy_version: int
    other_inserted_items: int
    other_sampled_items: int
    other_imported_items: int
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., table: _Optional[str] = ..., batch_size: _Optional[int] = ..., credits: _Optional[int] = ..., max_batches_per_message: _Optional[int] = ..., learner_step: _Optional[int] = ..., release_draws: _Optional[_Iterable[int]] = ..., share: _Optional[float] = ..., policy_version: _Optional[int] = ..., other_inserted_items: _Optional[int] = ..., other_sampled_items: _Optional[int] = ..., other_imported_items: _Optional[int] = ...) -> None: ...

class SampleReply(_message.Message):
    __slots__ = ("draws", "rows", "table")
    DRAWS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    draws: _containers.RepeatedCompositeFieldContainer[Draw]
    rows: bytes
    table: TableFacts
    def __init__(self, draws: _Optional[_Iterable[_Union[Draw, _Mapping]]] = ..., rows: _Optional[bytes] = ..., table: _Optional[_Union[TableFacts, _Mapping]] = ...) -> None: ...

class Draw(_message.Message):
    __slots__ = ("draw_id", "size", "redelivered")
    DRAW_ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_FIELD_NUMBER: _ClassVar[int]
    draw_id: int
    size: int
    redelivered: bool
    def __init__(self, draw_id: _Optional[int] = ..., size: _Optional[int] = ..., redelivered: _Optional[bool] = ...) -> None: ...

class TableFacts(_message.Message):
    __slots__ = ("name", "items", "total_priority", "largest_priority", "env_steps", "inserted_items", "sampled_items", "inclusion_rule", "window_s", "start_log_json", "service_now_s", "start_log_number", "imported_items")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    LARGEST_PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    INSERTED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    SAMPLED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    INCLUSION_RULE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_S_FIELD_NUMBER: _ClassVar[int]
    START_LOG_JSON_FIELD_NUMBER: _ClassVar[int]
    SERVICE_NOW_S_FIELD_NUMBER: _ClassVar[int]
    START_LOG_NUMBER_FIELD_NUMBER: _ClassVar[int]
    IMPORTED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    items: int
    total_priority: float
    largest_priority: float
    env_steps: int
    inserted_items: int
    sampled_items: int
    inclusion_rule: str
    window_s: float
    start_log_json: bytes
    service_now_s: float
    start_log_number: int
    imported_items: int
    def __init__(self, name: _Optional[str] = ..., items: _Optional[int] = ..., total_priority: _Optional[float] = ..., largest_priority: _Optional[float] = ..., env_steps: _Optional[int] = ..., inserted_items: _Optional[int] = ..., sampled_items: _Optional[int] = ..., inclusion_rule: _Optional[str] = ..., window_s: _Optional[float] = ..., start_log_json: _Optional[bytes] = ..., service_now_s: _Optional[float] = ..., start_log_number: _Optional[int] = ..., imported_items: _Optional[int] = ...) -> None: ...

class ConsumedRequest(_message.Message):
    __slots__ = ("client_id", "incarnation", "table", "draw_ids")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    DRAW_IDS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    table: str
    draw_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., table: _Optional[str] = ..., draw_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ConsumedReply(_message.Message):
    __slots__ = ("items_removed", "unknown_draws")
    ITEMS_REMOVED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_DRAWS_FIELD_NUMBER: _ClassVar[int]
    items_removed: int
    unknown_draws: int
    def __init__(self, items_removed: _Optional[int] = ..., unknown_draws: _Optional[int] = ...) -> None: ...

class UpdatePrioritiesRequest(_message.Message):
    __slots__ = ("client_id", "incarnation", "table", "keys", "priorities")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    PRIORITIES_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    table: str
    keys: bytes
    priorities: bytes
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., table: _Optional[str] = ..., keys: _Optional[bytes] = ..., priorities: _Optional[bytes] = ...) -> None: ...

class UpdatePrioritiesReply(_message.Message):
    __slots__ = ("applied", "late")
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    applied: int
    late: int
    def __init__(self, applied: _Optional[int] = ..., late: _Optional[int] = ...) -> None: ...

class InfoRequest(_message.Message):
    __slots__ = ("start_log_of", "start_log_known")
    START_LOG_OF_FIELD_NUMBER: _ClassVar[int]
    START_LOG_KNOWN_FIELD_NUMBER: _ClassVar[int]
    start_log_of: str
    start_log_known: int
    def __init__(self, start_log_of: _Optional[str] = ..., start_log_known: _Optional[int] = ...) -> None: ...

class InfoReply(_message.Message):
    __slots__ = ("run_id", "service_incarnation", "shard_index", "shard_count", "uptime_s", "tables", "env_steps", "episodes", "rows", "slab_bytes", "durable_bytes", "duplicates", "refused", "gaps", "fenced", "durability", "clients", "learner_step", "schema_json", "recovering", "durable_tier")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SERVICE_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    SHARD_INDEX_FIELD_NUMBER: _ClassVar[int]
    SHARD_COUNT_FIELD_NUMBER: _ClassVar[int]
    UPTIME_S_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    EPISODES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    SLAB_BYTES_FIELD_NUMBER: _ClassVar[int]
    DURABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    GAPS_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    CLIENTS_FIELD_NUMBER: _ClassVar[int]
    LEARNER_STEP_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_JSON_FIELD_NUMBER: _ClassVar[int]
    RECOVERING_FIELD_NUMBER: _ClassVar[int]
    DURABLE_TIER_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    service_incarnation: int
    shard_index: int
    shard_count: int
    uptime_s: float
    tables: _containers.RepeatedCompositeFieldContainer[TableInfo]
    env_steps: int
    episodes: int
    rows: int
    slab_bytes: int
    durable_bytes: int
    duplicates: int
    refused: int
    gaps: int
    fenced: int
    durability: str
    clients: _containers.RepeatedCompositeFieldContainer[ClientInfo]
    learner_step: int
    schema_json: bytes
    recovering: bool
    durable_tier: str
    def __init__(self, run_id: _Optional[str] = ..., service_incarnation: _Optional[int] = ..., shard_index: _Optional[int] = ..., shard_count: _Optional[int] = ..., uptime_s: _Optional[float] = ..., tables: _Optional[_Iterable[_Union[TableInfo, _Mapping]]] = ..., env_steps: _Optional[int] = ..., episodes: _Optional[int] = ..., rows: _Optional[int] = ..., slab_bytes: _Optional[int] = ..., durable_bytes: _Optional[int] = ..., duplicates: _Optional[int] = ..., refused: _Optional[int] = ..., gaps: _Optional[int] = ..., fenced: _Optional[int] = ..., durability: _Optional[str] = ..., clients: _Optional[_Iterable[_Union[ClientInfo, _Mapping]]] = ..., learner_step: _Optional[int] = ..., schema_json: _Optional[bytes] = ..., recovering: _Optional[bool] = ..., durable_tier: _Optional[str] = ...) -> None: ...

class TableInfo(_message.Message):
    __slots__ = ("facts", "capacity_items", "oldest_s", "mean_age_s", "mean_duration_s", "limiter_surplus", "insert_blocked", "sample_blocked", "sample_wait_s", "insert_wait_s", "late_updates", "evicted_items", "leased_items", "redelivered_items", "expired_items", "late_items")
    FACTS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_ITEMS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_S_FIELD_NUMBER: _ClassVar[int]
    MEAN_AGE_S_FIELD_NUMBER: _ClassVar[int]
    MEAN_DURATION_S_FIELD_NUMBER: _ClassVar[int]
    LIMITER_SURPLUS_FIELD_NUMBER: _ClassVar[int]
    INSERT_BLOCKED_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_BLOCKED_FIELD_NUMBER: _ClassVar[int]
    SAMPLE_WAIT_S_FIELD_NUMBER: _ClassVar[int]
    INSERT_WAIT_S_FIELD_NUMBER: _ClassVar[int]
    LATE_UPDATES_FIELD_NUMBER: _ClassVar[int]
    EVICTED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    LEASED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    REDELIVERED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_ITEMS_FIELD_NUMBER: _ClassVar[int]
    LATE_ITEMS_FIELD_NUMBER: _ClassVar[int]
    facts: TableFacts
    capacity_items: int
    oldest_s: float
    mean_age_s: float
    mean_duration_s: float
    limiter_surplus: float
    insert_blocked: bool
    sample_blocked: bool
    sample_wait_s: float
    insert_wait_s: float
    late_updates: int
    evicted_items: int
    leased_items: int
    redelivered_items: int
    expired_items: int
    late_items: int
    def __init__(self, facts: _Optional[_Union[TableFacts, _Mapping]] = ..., capacity_items: _Optional[int] = ..., oldest_s: _Optional[float] = ..., mean_age_s: _Optional[float] = ..., mean_duration_s: _Optional[float] = ..., limiter_surplus: _Optional[float] = ..., insert_blocked: _Optional[bool] = ..., sample_blocked: _Optional[bool] = ..., sample_wait_s: _Optional[float] = ..., insert_wait_s: _Optional[float] = ..., late_updates: _Optional[int] = ..., evicted_items: _Optional[int] = ..., leased_items: _Optional[int] = ..., redelivered_items: _Optional[int] = ..., expired_items: _Optional[int] = ..., late_items: _Optional[int] = ...) -> None: ...

class ClientInfo(_message.Message):
    __slots__ = ("client_id", "incarnation", "role", "silent_s", "message_number", "started", "ended", "running", "oldest_running_s", "host", "pool")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    SILENT_S_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    RUNNING_FIELD_NUMBER: _ClassVar[int]
    OLDEST_RUNNING_S_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    incarnation: int
    role: Role
    silent_s: float
    message_number: int
    started: int
    ended: int
    running: int
    oldest_running_s: float
    host: str
    pool: str
    def __init__(self, client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., silent_s: _Optional[float] = ..., message_number: _Optional[int] = ..., started: _Optional[int] = ..., ended: _Optional[int] = ..., running: _Optional[int] = ..., oldest_running_s: _Optional[float] = ..., host: _Optional[str] = ..., pool: _Optional[str] = ...) -> None: ...

class EndWindowRequest(_message.Message):
    __slots__ = ("client_id", "pool", "ago_s")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    POOL_FIELD_NUMBER: _ClassVar[int]
    AGO_S_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    pool: str
    ago_s: float
    def __init__(self, client_id: _Optional[str] = ..., pool: _Optional[str] = ..., ago_s: _Optional[float] = ...) -> None: ...

class EndWindowReply(_message.Message):
    __slots__ = ("window",)
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    window: int
    def __init__(self, window: _Optional[int] = ...) -> None: ...

class CheckpointRequest(_message.Message):
    __slots__ = ("label", "learner_step", "kept_label", "table", "learned_draws")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LEARNER_STEP_FIELD_NUMBER: _ClassVar[int]
    KEPT_LABEL_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    LEARNED_DRAWS_FIELD_NUMBER: _ClassVar[int]
    label: str
    learner_step: int
    kept_label: str
    table: str
    learned_draws: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, label: _Optional[str] = ..., learner_step: _Optional[int] = ..., kept_label: _Optional[str] = ..., table: _Optional[str] = ..., learned_draws: _Optional[_Iterable[int]] = ...) -> None: ...

class CheckpointReply(_message.Message):
    __slots__ = ("label", "env_steps", "items", "row_number")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    ENV_STEPS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    label: str
    env_steps: int
    items: int
    row_number: int
    def __init__(self, label: _Optional[str] = ..., env_steps: _Optional[int] = ..., items: _Optional[int] = ..., row_number: _Optional[int] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("table", "from_row_number", "before_row_number")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    FROM_ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    table: str
    from_row_number: int
    before_row_number: int
    def __init__(self, table: _Optional[str] = ..., from_row_number: _Optional[int] = ..., before_row_number: _Optional[int] = ...) -> None: ...

class ExportReply(_message.Message):
    __slots__ = ("rows", "last_row_number", "client_id", "incarnation", "stored_unix_s", "held_s", "items", "before_row_number")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    LAST_ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    STORED_UNIX_S_FIELD_NUMBER: _ClassVar[int]
    HELD_S_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ROW_NUMBER_FIELD_NUMBER: _ClassVar[int]
    rows: bytes
    last_row_number: int
    client_id: str
    incarnation: int
    stored_unix_s: float
    held_s: float
    items: bytes
    before_row_number: int
    def __init__(self, rows: _Optional[bytes] = ..., last_row_number: _Optional[int] = ..., client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., stored_unix_s: _Optional[float] = ..., held_s: _Optional[float] = ..., items: _Optional[bytes] = ..., before_row_number: _Optional[int] = ...) -> None: ...

class RetireRequest(_message.Message):
    __slots__ = ("retired",)
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    retired: bool
    def __init__(self, retired: _Optional[bool] = ...) -> None: ...

class RetireReply(_message.Message):
    __slots__ = ("items_left", "live_streams")
    ITEMS_LEFT_FIELD_NUMBER: _ClassVar[int]
    LIVE_STREAMS_FIELD_NUMBER: _ClassVar[int]
    items_left: int
    live_streams: int
    def __init__(self, items_left: _Optional[int] = ..., live_streams: _Optional[int] = ...) -> None: ...

class LineageRequest(_message.Message):
    __slots__ = ("table", "keys")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    table: str
    keys: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, table: _Optional[str] = ..., keys: _Optional[_Iterable[int]] = ...) -> None: ...

class LineageReply(_message.Message):
    __slots__ = ("items",)
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    items: _containers.RepeatedCompositeFieldContainer[ItemLineage]
    def __init__(self, items: _Optional[_Iterable[_Union[ItemLineage, _Mapping]]] = ...) -> None: ...

class ItemLineage(_message.Message):
    __slots__ = ("key", "client_id", "incarnation", "lane", "episode", "lane_sequence", "policy_version", "duration_s", "host", "environment_id", "environment_version", "seed")
    KEY_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    LANE_FIELD_NUMBER: _ClassVar[int]
    EPISODE_FIELD_NUMBER: _ClassVar[int]
    LANE_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    POLICY_VERSION_FIELD_NUMBER: _ClassVar[int]
    DURATION_S_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_ID_FIELD_NUMBER: _ClassVar[int]
    ENVIRONMENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    key: int
    client_id: str
    incarnation: int
    lane: int
    episode: int
    lane_sequence: int
    policy_version: int
    duration_s: float
    host: str
    environment_id: str
    environment_version: str
    seed: int
    def __init__(self, key: _Optional[int] = ..., client_id: _Optional[str] = ..., incarnation: _Optional[int] = ..., lane: _Optional[int] = ..., episode: _Optional[int] = ..., lane_sequence: _Optional[int] = ..., policy_version: _Optional[int] = ..., duration_s: _Optional[float] = ..., host: _Optional[str] = ..., environment_id: _Optional[str] = ..., environment_version: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...
