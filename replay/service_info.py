"""What a replay service says about itself, for people, learners and the command line. One call; blocks up to its deadline."""

from dataclasses import dataclass

import grpc

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.facts import TableFacts, facts_of
from replay.link import LARGEST_MESSAGE_BYTES, our_errors
from sojourn.roles import Address
from sojourn.rpc import channel_options


@dataclass(frozen=True)
class TableInfo:
    """One table now. Ages, durations and waits in seconds; waits are cumulative."""

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


@dataclass(frozen=True)
class ClientInfo:
    """One client now. role: "actor", "learner", "evaluator" or "operator".  silent_s: since it was last heard."""

    client_id: str
    incarnation: int
    role: str
    silent_s: float
    message_number: int
    started: int
    ended: int
    running: int
    oldest_running_s: float
    host: str
    pool: str


@dataclass(frozen=True)
class ServiceInfo:
    """One shard now. schema_json: empty until the first actor has said hello.  durable_tier: "ok", "down: reason" or "none"."""

    run_id: str
    service_incarnation: int
    shard_index: int
    shard_count: int
    uptime_s: float
    tables: tuple[TableInfo, ...]
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
    clients: tuple[ClientInfo, ...]
    learner_step: int
    schema_json: bytes
    recovering: bool
    durable_tier: str

    def table(self, name: str) -> TableInfo | None:
        return next((table for table in self.tables if table.facts.name == name), None)


def service_info(address: Address, timeout_s: float = 5.0, token: str = "") -> ServiceInfo:
    """Ask a service. Raises UnavailableError when there is none, DeadlineError when it does not answer in time."""
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(address(), options=channel_options(LARGEST_MESSAGE_BYTES)) as channel, our_errors():
        reply = ReplayStub(channel).Info(pb.InfoRequest(), timeout=timeout_s, metadata=metadata)
    return info_of(reply)


def info_of(reply: pb.InfoReply) -> ServiceInfo:
    """The wire's answer as plain values."""
    return ServiceInfo(
        run_id=reply.run_id,
        service_incarnation=reply.service_incarnation,
        shard_index=reply.shard_index,
        shard_count=reply.shard_count,
        uptime_s=reply.uptime_s,
        tables=tuple(_table(table) for table in reply.tables),
        env_steps=reply.env_steps,
        episodes=reply.episodes,
        rows=reply.rows,
        slab_bytes=reply.slab_bytes,
        durable_bytes=reply.durable_bytes,
        duplicates=reply.duplicates,
        refused=reply.refused,
        gaps=reply.gaps,
        fenced=reply.fenced,
        durability=reply.durability,
        clients=tuple(_client(client) for client in reply.clients),
        learner_step=reply.learner_step,
        schema_json=reply.schema_json,
        recovering=reply.recovering,
        durable_tier=reply.durable_tier,
    )


def _table(message: pb.TableInfo) -> TableInfo:
    return TableInfo(
        facts=facts_of(message.facts),
        capacity_items=message.capacity_items,
        oldest_s=message.oldest_s,
        mean_age_s=message.mean_age_s,
        mean_duration_s=message.mean_duration_s,
        limiter_surplus=message.limiter_surplus,
        insert_blocked=message.insert_blocked,
        sample_blocked=message.sample_blocked,
        sample_wait_s=message.sample_wait_s,
        insert_wait_s=message.insert_wait_s,
        late_updates=message.late_updates,
        evicted_items=message.evicted_items,
        leased_items=message.leased_items,
        redelivered_items=message.redelivered_items,
    )


def _client(message: pb.ClientInfo) -> ClientInfo:
    return ClientInfo(
        client_id=message.client_id,
        incarnation=message.incarnation,
        role=pb.Role.Name(message.role).removeprefix("ROLE_").lower(),
        silent_s=message.silent_s,
        message_number=message.message_number,
        started=message.started,
        ended=message.ended,
        running=message.running,
        oldest_running_s=message.oldest_running_s,
        host=message.host,
        pool=message.pool,
    )
