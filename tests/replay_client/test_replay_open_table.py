"""A table opens as Arrow batches, becomes Parquet files or a Minari dataset, and what was written is what a run can begin with."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import gymnasium as gym
import numpy as np
import pyarrow.parquet as pq
import pytest

from replay.arrow import decode_chunk, encode_chunk
from replay.exported import ExportedRows, exported_rows
from replay.initial import Beginning, load_initial
from replay.initial_record import FileRecord
from replay.initial_source import initial_source
from replay.nested_columns import leaves_of, trees
from replay.open_table import OpenTable, live_shard
from replay.table_columns import TableColumns
from replay.write_minari import write_minari
from replay.write_parquet import write_parquet
from sojourn.columns import Column, Schema, space_to_json
from sojourn.errors import CheckpointError, ConfigError
from sojourn.experience import Segment
from sojourn.shard_list import ShardList, write_shard_list
from tests.waiting import DEADLINE_S, eventually

IMAGE_AND_VECTOR = gym.spaces.Dict(
    {"camera": gym.spaces.Box(0, 255, (6, 5, 3), np.uint8), "joints": gym.spaces.Box(-np.inf, np.inf, (3,), np.float64)}
)
SPACES = {
    "Box": (gym.spaces.Box(-np.inf, np.inf, (4,), np.float32), gym.spaces.Box(-1.0, 1.0, (2, 2), np.float32)),
    "Dict": (IMAGE_AND_VECTOR, gym.spaces.Discrete(5, start=2)),
    "Tuple": (
        gym.spaces.Tuple((gym.spaces.Discrete(7), gym.spaces.MultiBinary(4))),
        gym.spaces.MultiDiscrete([3, 4], dtype=np.int64),
    ),
}
EXTRAS = (Column("task", "int64"), Column("hurt", "bool", (2,)))
EPISODES = ((0, 7), (1, 5), (0, 3), (1, 9))  # lane, steps; the last one does not end


def schema_for(name):
    observation, action = SPACES[name]
    return Schema(observation=space_to_json(observation), action=space_to_json(action), extras=EXTRAS)


def random_column(rng, column, rows):
    if column.dtype == "bool":
        return rng.random((rows, *column.shape)) < 0.5
    if np.issubdtype(np.dtype(column.dtype), np.integer):
        return rng.integers(0, 2, (rows, *column.shape)).astype(column.dtype)
    return rng.normal(size=(rows, *column.shape)).astype(column.dtype)


def random_segments(schema):
    """Whole episodes in two lanes, and one that goes on."""
    rng, sequence, segments = np.random.default_rng(3), [0, 0], []
    for number, (lane, steps) in enumerate(EPISODES):
        ends = number < len(EPISODES) - 1
        last = np.arange(steps) == steps - 1
        segments.append(
            Segment(
                lane=lane,
                first_sequence=sequence[lane],
                episode=number,
                observation={c.name: random_column(rng, c, steps + 1) for c in schema.observation_columns()},
                action={c.name: random_column(rng, c, steps) for c in schema.action_columns()},
                reward=rng.normal(size=steps).astype(np.float32),
                terminated=last & ends & (number == 0),
                truncated=last & ends & (number > 0),
                duration_s=rng.exponential(size=steps),
                started_at_s=-rng.exponential(size=steps),
                end_kind=(last & (number == 1)).astype(np.uint8),
                log_prob=rng.normal(size=steps).astype(np.float32),
                policy_version=np.full(steps, 3),
                closed=ends,
                extras={c.name: random_column(rng, c, steps) for c in schema.extras},
            )
        )
        sequence[lane] += steps + ends
    return segments


def durable(make_service, capacity_steps=4_096):
    limiter = {"min_size": 1, "samples_per_insert": None}
    return make_service(
        replay={"durability": "process"}, tables={"replay": {"capacity_steps": capacity_steps, "limiter": limiter}}
    )


def opened(service, stack):
    return OpenTable("replay", [partial(live_shard, service.address)], stack)


def written(service, write, folder):
    with ExitStack() as stack:
        table = opened(service, stack)
        return write(table, folder), table


def load(service, name, schema, folder, stop=None, source=None):
    folder.mkdir(exist_ok=True)
    beginning = Beginning(
        name, source or initial_source(name), schema, [service.address], 1, "run", 1.0, stop or threading.Event()
    )
    return load_initial(FileRecord(folder), beginning)


COMPARED = ("reward", "terminated", "truncated", "duration_s", "end_kind", "log_prob")


def same(found, expected):
    """Whether segments hold the same rows, bit for bit; versions and starts are another run's."""
    for name in COMPARED:
        assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), name
    rows = len(expected) + expected.closed
    for group in ("observation", "action", "extras"):
        ours, theirs = getattr(expected, group), getattr(found, group)
        assert theirs.keys() == ours.keys()
        for name, leaf in ours.items():
            assert theirs[name].dtype == leaf.dtype
            assert theirs[name][:rows].tobytes() == leaf[:rows].tobytes(), name
    return True


@pytest.mark.parametrize("name", SPACES)
def test_what_was_inserted_comes_back_bit_for_bit_from_parquet_and_minari(make_service, tmp_path, name):
    schema, segments = schema_for(name), random_segments(schema_for(name))
    service = durable(make_service)
    actor = service.actor(schema=schema)
    for segment in segments:
        actor.insert(segment)
        actor.flush()
    assert actor.drain(DEADLINE_S)

    _, table = written(service, write_parquet, tmp_path / "parquet")
    minari, _ = written(service, write_minari, tmp_path / "minari")
    actor.close()

    assert (table.steps, table.rows, table.missing_rows) == (24, 27, 0)
    for found, expected in zip(initial_source(str(tmp_path / "parquet")).segments(schema, 1.0), segments, strict=True):
        same(found, expected)
    assert (minari.episodes, minari.steps, minari.cut_steps, minari.unfinished_steps) == (3, 15, 0, 9)
    source = initial_source(str(tmp_path / "minari"))
    source.check(schema)
    for found, expected in zip(source.segments(schema, 1.0), segments[:-1], strict=True):
        same(found, expected)


def test_ragged_extras_and_core_state_come_back_bit_for_bit():
    extras = (Column("parts", "float32", ragged_max=4), Column("flag", "bool"))
    schema = replace(schema_for("Dict"), extras=extras, core_state=(Column("core_state.h", "float32", (2, 3)),))
    rng, steps = np.random.default_rng(5), 6
    parts = np.empty(steps, object)
    parts[:] = [rng.normal(size=length).astype(np.float32) for length in (0, 4, 1, 0, 3, 2)]
    state = {"core_state.h": rng.normal(size=(steps, 2, 3)).astype(np.float32)}
    flag = rng.random(steps) < 0.5
    whole = replace(random_segments(schema_for("Dict"))[1], closed=True)
    first = {name: leaf[:1].repeat(steps + 1, 0) for name, leaf in whole.observation.items()}
    fields = {name: np.resize(getattr(whole, name), steps) for name in (*COMPARED, "started_at_s", "policy_version")}
    action = {name: np.resize(leaf, steps) for name, leaf in whole.action.items()}
    told = {"observation": first, "action": action, "extras": {"parts": parts, "flag": flag}, "core_state": state}
    segment = replace(whole, **fields, **told)

    rows = decode_chunk(schema, encode_chunk(schema, [segment], 0.0))
    nothing = np.full(len(rows), np.nan, np.float32)
    chunk = ExportedRows(1, rows, "actor-0", 7, 1e9, 0.0, nothing, np.zeros(len(rows), np.uint32))
    batch = TableColumns(schema).record_batch(chunk, 0)

    found = leaves_of(trees(schema)["extras"], batch.column("extras"))
    assert [values.tobytes() for values in found["parts"]] == [*(part.tobytes() for part in parts), b""]
    assert found["flag"][:steps].tobytes() == flag.tobytes()
    h = leaves_of(trees(schema)["core_state"], batch.column("core_state"))["core_state.h"]
    assert h[:steps].tobytes() == state["core_state.h"].tobytes()


def test_a_restart_amid_the_beginning_neither_doubles_nor_loses(make_service, make_segment, tmp_path):
    first, second = (durable(make_service, 16_384) for _ in range(2))
    actor = first.actor()
    for number in range(40):
        actor.insert(make_segment(number % 4, number // 4 * 257, 256, closed=True, episode=number // 4))
    assert actor.drain(DEADLINE_S)
    written(first, write_parquet, tmp_path / "parquet")
    actor.close()
    schema, name = first_schema(first), str(tmp_path / "parquet")

    stop, source = threading.Event(), initial_source(name)

    class Halting:
        """The same experience, and a stop amid it."""

        fingerprint, lacks_durations = source.fingerprint, False
        check = source.check

        def segments(self, schema, assumed_duration_s):
            for number, segment in enumerate(source.segments(schema, assumed_duration_s)):
                yield segment
                if number == 20:
                    stop.set()

    half = load(second, name, schema, tmp_path / "run", stop, Halting())
    second.stop()
    second.start()
    whole = load(second, name, schema, tmp_path / "run")

    assert not half.finished
    assert whole.finished
    assert whole.steps == second.info().env_steps == 40 * 256
    load(second, name, schema, tmp_path / "run")  # all is there: nothing is sent
    info = second.info()
    assert (info.env_steps, info.episodes, info.refused) == (40 * 256, 40, 0)
    assert info.table("replay").facts.inserted_items == 40 * 256  # the limiter has seen them


def test_what_a_retired_shard_lacks_of_the_beginning_still_arrives_there(make_service, make_segment, tmp_path):
    shards, source = [durable(make_service) for _ in range(2)], durable(make_service)
    actor = source.actor()
    for lane in range(4):
        actor.insert(make_segment(lane, 0, 64, closed=True))
    assert actor.drain(DEADLINE_S)
    written(source, write_parquet, tmp_path / "parquet")
    actor.close()
    given = initial_source(str(tmp_path / "parquet"))

    class Breaking:
        """The same experience, of which nothing can be read."""

        fingerprint, lacks_durations, check = given.fingerprint, False, given.check

        def segments(self, schema, assumed_duration_s):
            raise OSError("the launcher is killed")

    (tmp_path / "run").mkdir()
    addresses = [shard.address for shard in shards]
    first = Beginning("given", Breaking(), first_schema(source), addresses, 2, "run", 1.0, threading.Event())
    with pytest.raises(OSError, match="killed"):
        load_initial(FileRecord(tmp_path / "run"), first)
    write_shard_list(tmp_path, ShardList(1, 3))
    eventually(shards[1].takes_no_lives)
    assert load_initial(FileRecord(tmp_path / "run"), replace(first, source=given, taking=1)).finished
    assert [shard.info().env_steps for shard in shards] == [128, 128]


def first_schema(service):
    return Schema.from_json(service.info().schema_json)


def test_what_changes_while_it_is_read_is_neither_torn_nor_followed_for_ever(make_service, make_segment, tmp_path):
    service = durable(make_service, 65_536)
    actor, over = service.actor(), threading.Event()

    def act():
        first = 0
        while not over.is_set() and first < 50_000:  # so much the table holds
            actor.insert(make_segment(0, first, 64))
            first += 64

    actor.insert(make_segment(1, 0, 64))
    assert actor.drain(DEADLINE_S)
    before = service.info().env_steps
    traffic = threading.Thread(target=act)
    traffic.start()
    try:
        files, table = written(service, write_parquet, tmp_path / "parquet")
    finally:
        over.set()
        traffic.join()
        actor.close()
    rows = pq.read_table(files[0]).sort_by("row_number")
    numbers, priority = rows["row_number"].to_numpy(), rows["priority"].to_numpy()
    assert table.steps >= before
    assert (np.diff(numbers) == 1).all()
    assert (priority[:32] == 1.0).all()


def test_reading_goes_on_behind_a_restart_of_the_service(make_service, make_segment):
    service = durable(make_service)
    schema = Schema(
        observation=space_to_json(gym.spaces.Box(0, 255, (128, 128), np.uint8)),
        action=space_to_json(gym.spaces.Box(-1.0, 1.0, (1,), np.float32)),
    )
    actor, frames = service.actor(schema=schema), np.random.default_rng(1).integers(0, 256, (9, 128, 128), np.uint8)
    for first in range(0, 800, 8):  # 13 MB: more than is under way at once
        actor.insert(make_segment(0, first, 8, observation={"observation": frames}))
    assert actor.drain(15.0)
    actor.close()
    chunks = exported_rows(service.address, schema, "replay")
    found = [next(chunks)]
    service.stop()
    service.start()
    found += chunks
    assert [row for chunk in found for row in range(chunk.first_row, chunk.next_row)][:800] == list(range(1, 801))


def test_rows_that_were_let_go_are_counted(make_service, make_segment, tmp_path):
    service = durable(make_service, 512)
    slow, fast = service.actor("slow"), service.actor("fast")
    slow.insert(make_segment(0, 0, 64))
    assert slow.drain(DEADLINE_S)
    for first in range(0, 4096, 64):
        fast.insert(make_segment(0, first, 64))
    assert fast.drain(DEADLINE_S)
    with ExitStack() as stack:
        table = opened(service, stack)
        numbers = np.concatenate([batch.column("row_number").to_numpy() for batch in table])
    slow.close()
    fast.close()
    assert numbers[0] == 1  # its lane goes on: its last row is still needed
    assert table.missing_rows == np.diff(numbers).sum() - (len(numbers) - 1) > 1000


def test_two_exports_never_mix(make_service, make_segment, tmp_path):
    service = durable(make_service)
    actor = service.actor()
    actor.insert(make_segment(0, 0, 8))
    assert actor.drain(DEADLINE_S)
    actor.close()
    written(service, write_parquet, tmp_path / "parquet")
    with pytest.raises(CheckpointError, match=r"is not empty \(part-00000\.parquet is in it\)"):
        written(service, write_parquet, tmp_path / "parquet")


def test_another_runs_experience_is_refused_in_one_sentence(make_service, make_segment, tmp_path):
    service = durable(make_service)
    actor = service.actor()
    actor.insert(make_segment(0, 0, 8))
    assert actor.drain(DEADLINE_S)
    actor.close()
    written(service, write_parquet, tmp_path / "parquet")
    with pytest.raises(ConfigError, match=r"the observation space of .* is Box\(.*\), and this run's is Dict\("):
        initial_source(str(tmp_path / "parquet")).check(schema_for("Dict"))
    more = Schema(**{**vars(first_schema(service)), "extras": EXTRAS})
    with pytest.raises(ConfigError, match=r"column 'task' of .* is not there, and this run's is int64\[\]"):
        initial_source(str(tmp_path / "parquet")).check(more)


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (None, "is no folder, nor a local Minari dataset"),
        ({}, "holds neither Parquet files nor a Minari dataset"),
        ({"part.parquet": b"PAR1"}, "cannot be read"),
        ({"metadata.json": b"{}"}, "cannot be read by Minari"),
    ],
)
def test_what_is_no_experience_is_named(tmp_path, made, sentence):
    folder = tmp_path / "given"
    if made is not None:
        folder.mkdir()
        for name, content in made.items():
            (folder / name).write_bytes(content)
    with pytest.raises(ConfigError, match=sentence):
        initial_source(str(folder))
