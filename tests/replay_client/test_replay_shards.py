"""Do draws of several shards become fair batches with the right probabilities? Streams are real, fed with messages of the wire."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protos import replay_pb2 as pb
from replay.bodies import encode_columns
from replay.facts import TableFacts, merge_facts, replay_facts
from replay.link import Link
from replay.sample_stream import SampleStream
from replay.shards import AcrossShards, WholeBatches, systematic_sizes
from sojourn.experience import SampleInfo
from sojourn.roles import fixed_address

BATCH = 8


def stream(*, connected: bool = True) -> SampleStream:
    """A stream whose link was never used: messages are handed to it instead."""
    link = Link(fixed_address("unix:/nowhere"), pb.HelloRequest(client_id="learner-0"))
    link.connected = connected
    return SampleStream(
        link, threading.Condition(), table="replay", batch_size=BATCH, prefetch=4, batches_per_message=2, may_draw=lambda: True
    )


def receive(target: SampleStream, priorities: np.ndarray, *, batches: int = 2, first_key: int = 1, draw_id: int = 0) -> None:
    """One message of draws from a table with these priorities (exponent 1), evenly over its items."""
    rows = np.arange(batches * BATCH) % len(priorities)
    total = float(priorities.sum())
    columns = {
        "info.key": (first_key + rows).astype(np.uint64),
        "info.probability": priorities[rows] / total,
        "info.times_sampled": np.ones(len(rows), np.uint32),
        "info.policy_version": np.full(len(rows), 3, np.int64),
        **{f"info.{name}": np.full(len(rows), 0.5) for name in ("delay_s", "age_s", "duration_s")},
        "info.task": np.zeros(len(rows), np.int64),
        "reward": priorities[rows].astype(np.float32)[:, None],
    }
    facts = pb.TableFacts(name="replay", items=len(priorities), total_priority=total, env_steps=10, inserted_items=20)
    draws = [pb.Draw(draw_id=draw_id + number if draw_id else 0, size=BATCH) for number in range(batches)]
    target._received(pb.SampleReply(rows=encode_columns(columns), table=facts, draws=draws))


SIZES = (3, 40, 200)
MESSAGES, BATCHES_A_MESSAGE = 60, 32


def unequal_shards(rng: np.random.Generator) -> list[np.ndarray]:
    """Priorities of three shards; the smallest holds about half of the total."""
    return [rng.uniform(0.1, 1.0, size) * scale for size, scale in zip(SIZES, (80.0, 3.0, 0.6), strict=True)]


def receive_drawn(target: SampleStream, priorities: np.ndarray, shard: int, rng: np.random.Generator) -> None:
    """One message of draws as a shard makes them: each row is item i with chance p_i over the shard's total. Keys: shard x 1000 + i."""
    total = float(priorities.sum())
    rows = rng.choice(len(priorities), BATCHES_A_MESSAGE * BATCH, p=priorities / total)
    columns = {
        "info.key": (1_000 * shard + rows).astype(np.uint64),
        "info.probability": priorities[rows] / total,
        "info.times_sampled": np.ones(len(rows), np.uint32),
        "info.policy_version": np.zeros(len(rows), np.int64),
        **{f"info.{name}": np.zeros(len(rows)) for name in ("delay_s", "age_s", "duration_s")},
        "info.task": np.zeros(len(rows), np.int64),
    }
    facts = pb.TableFacts(name="replay", items=len(priorities), total_priority=total)
    target._received(pb.SampleReply(rows=encode_columns(columns), table=facts, draws=[pb.Draw(size=BATCH)] * BATCHES_A_MESSAGE))


def taken(streams: list[SampleStream], source: AcrossShards, refill: Callable[[int], None]) -> Iterator[SampleInfo]:
    """Facts of many batches; each shard sends its next message when it has no whole batch left."""
    for _ in range(MESSAGES * BATCHES_A_MESSAGE):
        for shard, target in enumerate(streams):
            if not target.queued:
                refill(shard)
        batch = source.take()
        assert batch is not None
        yield batch.info


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.floats(0.0, 1e9), min_size=1, max_size=9).filter(lambda shares: sum(shares) > 0.0),
    st.integers(1, 512),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_a_split_is_whole_and_within_one_of_every_share(shares: list[float], batch_size: int, offset: float):
    exact = batch_size * np.array(shares) / sum(shares)

    sizes = systematic_sizes(np.array(shares), batch_size, offset)

    assert sizes.sum() == batch_size
    assert (np.abs(sizes - exact) < 1.0 + 1e-6).all()
    assert (sizes >= 0).all()
    assert (sizes[np.array(shares) == 0.0] == 0).all()


def test_a_split_is_right_on_average_over_its_offset():
    shares = np.array([0.13, 0.0, 0.62, 0.25])
    offsets = (np.arange(1_000) + 0.5) / 1_000

    mean = np.mean([systematic_sizes(shares, 10, offset) for offset in offsets], axis=0)

    assert mean == pytest.approx(10 * shares, abs=1e-3)


def test_probabilities_over_two_shards_are_those_of_one_table_with_all_items():
    one, two = np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0, 5.0, 5.0])
    streams = [stream(), stream()]
    receive(streams[0], one, first_key=1)
    receive(streams[1], two, first_key=101)

    batch = AcrossShards(streams, BATCH, np.random.default_rng(1)).take()

    everything = dict(zip([1, 2, 3, 4, 101, 102, 103, 104], np.concatenate([one, two]) / 50.0, strict=True))
    assert batch.info.probability == pytest.approx([everything[int(key)] for key in batch.info.key])
    assert batch.info.table_items == 8
    assert (batch.info.shard == np.where(batch.info.key > 100, 1, 0)).all()
    assert batch.facts == TableFacts("replay", 8, 50.0, 0.0, 20, 40, 0)
    assert np.bincount(batch.info.shard, minlength=2).tolist() in ([1, 7], [2, 6])  # 8 * .2 = 1.6
    assert batch.columns["reward"][:, 0] == pytest.approx(batch.info.probability * 50.0)


def test_a_stale_total_moves_the_split_and_the_probability_says_so():
    streams = [stream(), stream()]
    receive(streams[0], np.array([1.0, 3.0]), first_key=1)
    receive(streams[1], np.array([2.0, 2.0]), first_key=101)
    streams[1].learned(TableFacts("replay", items=2, total_priority=12.0))  # it grew since its draw

    batch = AcrossShards(streams, BATCH, np.random.default_rng(1)).take()

    said = dict(zip(batch.info.key.tolist(), batch.info.probability, strict=True))
    assert said[101] == pytest.approx(12 / 16 * 2 / 4)  # share used for the split x (p / total at the draw)
    assert all(said[key] == pytest.approx(4 / 16 * p / 4) for key, p in ((1, 1.0), (2, 3.0)) if key in said)


def test_items_of_unequal_shards_are_drawn_as_often_as_from_one_table_with_all_of_them():
    rng = np.random.default_rng(7)
    shards, streams = unequal_shards(rng), [stream() for _ in SIZES]

    source = AcrossShards(streams, BATCH, rng)
    keys = np.concatenate([info.key for info in taken(streams, source, lambda k: receive_drawn(streams[k], shards[k], k, rng))])

    one_table = np.concatenate(shards) / np.concatenate(shards).sum()
    everything = np.concatenate([1_000 * shard + np.arange(size) for shard, size in enumerate(SIZES)])
    drawn = (keys[:, None] == everything).sum(axis=0)
    expected = len(keys) * one_table
    chi_square = float(((drawn - expected) ** 2 / expected).sum())
    assert drawn.sum() == len(keys)
    freedom = sum(SIZES) - 1
    assert chi_square < freedom + 4.0 * np.sqrt(2.0 * freedom)


def test_weighted_means_stay_right_while_priorities_change_faster_than_totals_are_told():
    """Each message finds other priorities, and what is told of the totals in between is off by up to a factor of 2."""
    rng = np.random.default_rng(11)
    streams = [stream() for _ in SIZES]
    value = [rng.normal(shard, 1.0, size) for shard, size in enumerate(SIZES)]  # shards differ: a wrong split would show

    totals = [float(priorities.sum()) for priorities in unequal_shards(rng)]

    def refill(shard: int) -> None:
        receive_drawn(streams[shard], unequal_shards(rng)[shard], shard, rng)

    weighted, plain = [], []
    for info in taken(streams, AcrossShards(streams, BATCH, rng), refill):
        drawn = np.array([value[key // 1_000][key % 1_000] for key in info.key.astype(np.int64)])
        weighted.append((drawn / (info.table_items * info.probability)).mean())
        plain.append(drawn.mean())
        for target, typical in zip(streams, totals, strict=True):
            target.learned(replace(target.facts, total_priority=typical * rng.uniform(0.5, 2.0)))

    exact = np.concatenate(value).mean()
    error = np.std(weighted) / np.sqrt(len(weighted))
    assert abs(np.mean(weighted) - exact) < 4.0 * error
    assert abs(np.mean(plain) - exact) > 20.0 * error  # without the correction it is another mean


def test_many_batches_use_every_row_of_a_shard_once():
    streams = [stream(), stream()]
    rows = np.ones(2 * BATCH)
    receive(streams[0], rows, first_key=1)
    receive(streams[1], rows, first_key=101)
    source = AcrossShards(streams, BATCH, np.random.default_rng(1))

    keys = np.concatenate([source.take().info.key for _ in range(2)])

    assert len(set(keys.tolist())) == 2 * BATCH
    assert sum(key > 100 for key in keys) == BATCH  # half of two batches


def test_a_shard_that_is_down_is_left_out_and_counted_and_returns_by_itself():
    streams = [stream(), stream(connected=False)]
    source = AcrossShards(streams, BATCH, np.random.default_rng(1))
    receive(streams[0], np.array([1.0, 1.0]))

    without = source.take()
    streams[1]._link.connected = True
    receive(streams[1], np.array([1.0, 1.0]), first_key=101)
    with_it = source.take()

    assert (without.left_out, without.info.table_items) == (1, 2)
    assert without.info.probability == pytest.approx([0.5] * BATCH)
    assert (with_it.left_out, with_it.info.table_items) == (0, 4)
    assert with_it.info.probability == pytest.approx([0.25] * BATCH)


def test_a_silent_shard_is_waited_for_once_and_then_left_out_until_it_sends():
    clock, streams = Clock(), [stream(), stream()]
    streams[1].learned(TableFacts("replay", items=5, total_priority=5.0))
    source = AcrossShards(streams, BATCH, np.random.default_rng(1), clock)
    receive(streams[0], np.array([1.0, 1.0]))

    assert source.take() is None  # second 0: it has items and should send
    clock.now_s = 1.1
    assert source.take().left_out == 1
    clock.now_s = 1.2
    assert source.take().left_out == 1  # not waited for again


def test_an_empty_shard_is_neither_waited_for_nor_counted():
    streams = [stream(), stream()]
    streams[1].learned(TableFacts("replay", items=0))
    receive(streams[0], np.array([1.0, 1.0]))

    assert AcrossShards(streams, BATCH, np.random.default_rng(1)).take().left_out == 0


def test_nothing_comes_of_shards_that_have_sent_nothing():
    assert AcrossShards([stream(), stream()], BATCH, np.random.default_rng(1)).take() is None
    assert WholeBatches([stream()]).take() is None


def test_whole_batches_keep_draws_and_leases_together_and_take_turns():
    streams = [stream(), stream()]
    receive(streams[0], np.array([1.0]), draw_id=7)
    receive(streams[1], np.array([1.0]), draw_id=70)
    source = WholeBatches(streams)

    batches = [source.take() for _ in range(4)]

    assert [set(batch.info.draw_id.tolist()) for batch in batches] == [{7}, {70}, {8}, {71}]
    assert [set(batch.info.shard.tolist()) for batch in batches] == [{0}, {1}, {0}, {1}]


def test_merged_facts_are_sums_and_keep_the_rule_that_loses_something():
    window = TableFacts("replay", 3, 2.0, 1.5, 30, 9, 4, inclusion_rule="window", window_s=20.0, start_log=({"starts": 1},))

    merged = merge_facts([TableFacts("replay", 5, 4.0, 0.5, 50, 10, 6), window])

    assert merged == TableFacts(
        "replay", 8, 6.0, 1.5, 80, 19, 10, inclusion_rule="window", window_s=20.0, start_log=({"starts": 1},)
    )
    assert (replay_facts([merged]).env_steps, replay_facts([]).items) == (80, 0)
