"""Between the wire's messages and the service's own records. Protobuf goes no further than here and replay/servicer.py. No I/O."""

import numpy as np

from protos import replay_pb2 as pb
from replay.answers import Facts
from replay.bodies import encode_columns
from replay.client_records import ClientRecord, Counts, Identity, Running
from replay.commit import StoredChunk
from replay.hello import Hello, Welcome
from replay.insert_calls import Answer, Outcome
from replay.lineage import Lineage
from replay.sampling import Request, SampleMessage
from replay.shard import Shard
from replay.store import Store
from replay.validation import LARGEST_VERSION
from sojourn.durations import MOST_SECONDS
from sojourn.errors import ValidationError
from sojourn.experience import EndKind
from sojourn.rpc import CONTRACT_VERSION

ROLES = {pb.ROLE_ACTOR: "actor", pb.ROLE_LEARNER: "learner", pb.ROLE_EVALUATOR: "evaluator", pb.ROLE_OPERATOR: "operator"}
ROLE_NUMBERS = {name: number for number, name in ROLES.items()}
OUTCOMES = {
    Outcome.ACCEPTED: pb.InsertReply.ACCEPTED,
    Outcome.DUPLICATE: pb.InsertReply.DUPLICATE,
    Outcome.REFUSED: pb.InsertReply.REFUSED,
}
MOST_ACTIONS = 1 << 53  # of one life
INSERT_PAUSE_S = 0.1  # told to actors while inserts are blocked: short, since the next heartbeat is a second away


def hello_of(request: pb.HelloRequest) -> Hello:
    identity = Identity(
        role=ROLES.get(request.role, ""),
        host=request.host,
        pool=request.pool,
        speed_class=request.speed_class,
        environment_id=request.environment_id,
        environment_version=request.environment_version,
        seed=request.seed,
        learner_group=request.learner_group,
        rank=request.rank,
        world=max(request.world, 1),
    )
    return Hello(
        contract_version=request.contract_version,
        run_id=request.run_id,
        client_id=request.client_id,
        identity=identity,
        last_incarnation=request.last_incarnation,
        inherit_incarnation=request.inherit_incarnation,
        schema_json=request.schema_json,
    )


def hello_reply(shard: Shard, welcome: Welcome) -> pb.HelloReply:
    replay = shard.config.replay
    return pb.HelloReply(
        contract_version=CONTRACT_VERSION,
        run_id=shard.run_id,
        incarnation=welcome.incarnation,
        last_message_number=welcome.last_message_number,
        schema_json=shard.schema.to_json() if shard.schema else b"",
        shard_index=shard.index,
        shard_count=replay.shards,
        service_incarnation=shard.incarnation,
        max_message_bytes=replay.max_message_bytes,
        insert_window=replay.insert_window,
        durability=replay.durability,
        tables=list(shard.config.tables),
        gated=shard.admission.gated,
    )


def insert_reply(answer: Answer) -> pb.InsertReply:
    return pb.InsertReply(
        message_number=answer.message_number,
        outcome=OUTCOMES[answer.outcome],
        reason=answer.reason,
        env_steps=answer.env_steps,
    )


def counts_of(request: pb.HeartbeatRequest) -> Counts:
    """The client's counters, summed over its lanes. Each lane's only grow, so their sum does.

    Raises ValidationError for a sum that no life reaches: everybody's Info would tell it.
    """
    lanes = request.lanes
    ended = (
        sum(lane.completed for lane in lanes),
        sum(lane.killed for lane in lanes),
        sum(lane.failed for lane in lanes),
        sum(lane.aborted for lane in lanes),
        sum(lane.crashed for lane in lanes),
    )
    started = sum(lane.started for lane in lanes)
    if max(started, *ended) > MOST_ACTIONS:
        raise ValidationError(
            f"{request.client_id} counts {max(started, *ended)} actions, more than {MOST_ACTIONS:g} are no count"
        )
    return Counts(started, ended)


def running_of(request: pb.HeartbeatRequest) -> list[Running]:
    """Actions that run; those that ended without a row are in the counters."""
    return [
        Running(
            lane=action.lane,
            action_number=action.action_number,
            age_s=age_of(action.age_s),
            policy_version=version_of(action.policy_version),
            task=action.task,
            episode_age_s=age_of(action.episode_age_s),
            ended=end_kind_of(action.ended) if action.has_ended else None,
            ended_ago_s=age_of(action.ended_ago_s),
            odd=not all(map(is_age, (action.age_s, action.episode_age_s, action.ended_ago_s))),
        )
        for action in request.running
    ]


def age_of(age_s: float) -> float:
    """A clock that steps back, or nonsense, must not spoil what is reckoned from ages: both are age 0."""
    return age_s if is_age(age_s) else 0.0


def is_age(age_s: float) -> bool:
    return 0.0 <= age_s <= MOST_SECONDS


def end_kind_of(number: int) -> EndKind:
    try:
        return EndKind(number)
    except ValueError as error:
        raise ValidationError(f"an action ends as 0 to {max(EndKind)}, got {number}") from error


def heartbeat_reply(shard: Shard, start_credits: int) -> pb.HeartbeatReply:
    """Pace. start_credits: -1 where there is no gate and they are unlimited."""
    store = shard.store
    return pb.HeartbeatReply(
        gated=start_credits >= 0,
        start_credits=max(0, start_credits),
        insert_pause_s=INSERT_PAUSE_S if store is not None and (store.insert_blocked() or shard.tier_blocks()) else 0.0,
        env_steps=store.env_steps if store is not None else 0,
        learner_step=shard.counts.learner_step,
        retired=shard.counts.retired,
    )


def request_of(request: pb.SampleRequest) -> Request:
    return Request(
        table=request.table,
        batch_size=request.batch_size,
        credits=request.credits,
        max_batches_per_message=request.max_batches_per_message,
        learner_step=request.learner_step,
        release_draws=request.release_draws,
        policy_version=version_of(request.policy_version),
        other_inserted_items=request.other_inserted_items,
        other_sampled_items=request.other_sampled_items,
        other_imported_items=request.other_imported_items,
    )


def version_of(policy_version: int) -> int:
    """Raises ValidationError for a version that no run reaches: once believed, it would make everything else look stale."""
    if not 0 <= policy_version < LARGEST_VERSION:
        raise ValidationError(f"a policy version lies in [0, {LARGEST_VERSION:g}), got {policy_version}")
    return policy_version


def sample_reply(message: SampleMessage) -> pb.SampleReply:
    draws = [pb.Draw(draw_id=draw.draw_id, size=draw.size, redelivered=draw.redelivered) for draw in message.draws]
    facts = facts_message(message.facts, message.env_steps, message.now_s)
    facts.start_log_number, facts.start_log_json = message.start_log_number, message.start_log
    return pb.SampleReply(draws=draws, rows=message.body, table=facts)


def updates_of(request: pb.UpdatePrioritiesRequest) -> tuple[np.ndarray, np.ndarray]:
    """Keys uint64[N] and priorities float32[N]. Raises ValidationError if they do not belong together."""
    if len(request.keys) % 8 or len(request.priorities) % 4 or len(request.keys) != 2 * len(request.priorities):
        raise ValidationError(
            f"keys are 8 and priorities 4 bytes each; got {len(request.keys)} bytes of keys and {len(request.priorities)} of priorities"
        )
    return np.frombuffer(request.keys, "<u8"), np.frombuffer(request.priorities, "<f4")


def facts_message(facts: Facts, env_steps: int, now_s: float) -> pb.TableFacts:
    return pb.TableFacts(
        name=facts.name,
        items=facts.items,
        total_priority=facts.total_priority,
        largest_priority=facts.largest_priority,
        env_steps=env_steps,
        inserted_items=facts.inserted_items,
        sampled_items=facts.sampled_items,
        imported_items=facts.imported_items,
        inclusion_rule=facts.rule.name,
        window_s=facts.rule.horizon,
        service_now_s=now_s,
    )


def export_reply(store: Store, table: str, chunk: StoredChunk, before_row: int) -> pb.ExportReply:
    keys = np.arange(chunk.first_row, chunk.first_row + chunk.rows)
    priority, times = store.look_up(table, keys)
    return pb.ExportReply(
        rows=chunk.body,
        last_row_number=chunk.first_row + chunk.rows - 1,
        client_id=chunk.client_id,
        incarnation=chunk.incarnation,
        stored_unix_s=chunk.stored_unix_s,
        held_s=chunk.held_s,
        items=encode_columns({"priority": priority, "times_sampled": times}),
        before_row_number=before_row,
    )


def item_lineage(item: Lineage) -> pb.ItemLineage:
    return pb.ItemLineage(
        key=item.key,
        client_id=item.client_id,
        incarnation=item.incarnation,
        lane=item.lane,
        episode=item.episode,
        lane_sequence=item.lane_sequence,
        policy_version=item.policy_version,
        duration_s=item.duration_s,
        host=item.identity.host,
        environment_id=item.identity.environment_id,
        environment_version=item.identity.environment_version,
        seed=item.identity.seed,
    )


def add_start_log(reply: pb.InfoReply, shard: Shard, request: pb.InfoRequest) -> None:
    """Put the start-log summary that the request asks for into the table's facts."""
    for table in reply.tables:
        if table.facts.name == request.start_log_of:
            number, summary = shard.start_summary(table.facts.name, table.facts.service_now_s)
            table.facts.start_log_number = number
            table.facts.start_log_json = summary if number != request.start_log_known else b""


def info_reply(shard: Shard) -> pb.InfoReply:
    now_s = shard.clock.now_s()
    reply = pb.InfoReply(
        run_id=shard.run_id,
        service_incarnation=shard.incarnation,
        shard_index=shard.index,
        shard_count=shard.config.replay.shards,
        uptime_s=now_s - shard.born_s,
        durable_bytes=shard.holdings.bytes,
        duplicates=shard.counts.duplicates,
        refused=shard.counts.refused,
        gaps=shard.counts.message_gaps,
        fenced=shard.counts.fenced,
        durability=shard.config.replay.durability,
        clients=[client_info(record, now_s) for record in shard.clients.most_remarkable(now_s)],
        learner_step=shard.counts.learner_step,
        schema_json=shard.schema.to_json() if shard.schema else b"",
        recovering=bool(shard.recovering),
        durable_tier=shard.tier_status(),
    )
    if shard.store is not None:
        reply.tables.extend(table_info(shard, table, now_s) for table in shard.config.tables)
        reply.env_steps, reply.episodes = shard.store.env_steps, shard.store.episodes
        reply.gaps += shard.store.gaps
        reply.rows, reply.slab_bytes = shard.store.slab_rows, shard.store.slab_bytes
    return reply


def table_info(shard: Shard, table: str, now_s: float) -> pb.TableInfo:
    assert shard.store is not None
    facts = shard.store.facts(table, now_s)
    return pb.TableInfo(
        facts=facts_message(facts, shard.store.env_steps, now_s),
        capacity_items=facts.capacity_items,
        oldest_s=facts.oldest_s,
        mean_age_s=facts.mean_age_s,
        mean_duration_s=facts.mean_duration_s,
        limiter_surplus=facts.limiter_surplus,
        insert_blocked=facts.insert_blocked,
        sample_blocked=facts.sample_blocked,
        sample_wait_s=shard.waits.sample_s[table],
        insert_wait_s=shard.waits.insert_s[table],
        late_updates=facts.late_updates,
        evicted_items=facts.evicted_items,
        leased_items=facts.leased_items,
        redelivered_items=facts.redelivered_items,
        expired_items=facts.expired_items,
        late_items=facts.late_items,
    )


def client_info(record: ClientRecord, now_s: float) -> pb.ClientInfo:
    return pb.ClientInfo(
        client_id=record.client_id,
        incarnation=record.incarnation,
        role=ROLE_NUMBERS[record.identity.role],
        silent_s=now_s - record.heard_at_s,
        message_number=record.message_number,
        started=record.counts.started,
        ended=sum(record.counts.ended),
        running=len(record.running),
        oldest_running_s=record.oldest_running_s(now_s),
        host=record.identity.host,
        pool=record.identity.pool,
    )
