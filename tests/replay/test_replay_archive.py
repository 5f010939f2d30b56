"""Rows come out of the archive as they went into it; a chunk is kept elsewhere until it is there."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest

from replay.archive import archive_files, archive_folder, archived_rows, archived_schema, lives_in, write_archive
from replay.archived_items import ArchivedItems
from replay.archiver import FILE_BYTES, Archiver
from replay.arrow import decode_chunk, encode_chunk
from replay.client_records import Identity
from replay.commit import StoredChunk
from replay.rows import STEP
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config.schema import TableSettings
from sojourn.errors import CheckpointError
from sojourn.experience import Segment
from sojourn.metrics import Metrics

DEADLINE_S = 60.0
SCHEMA = Schema(
    observation=space_to_json(
        gym.spaces.Dict(
            {
                "image": gym.spaces.Box(0, 255, (4, 4, 3), np.uint8),
                "joints": gym.spaces.Tuple((gym.spaces.Box(-9, 9, (2,), np.float32), gym.spaces.MultiBinary(3))),
            }
        )
    ),
    action=space_to_json(gym.spaces.Discrete(5)),
    extras=(
        Column("lap", "int64"),
        Column("hits", "float32", ragged_max=4),
        Column("seen", "bool", ragged_max=4),
        Column("near", "bool", (2,)),
        Column("weather", "float64", (2, 2), scope="episode"),
    ),
    core_state=(Column("core_state.memory", "float32", (3,)),),
)


def segment_of(lane: int, first: int, steps: int, *, closed: bool) -> Segment:
    rng = np.random.default_rng(first)
    hits, seen = np.empty(steps, object), np.empty(steps, object)
    hits[:] = [rng.random(count, np.float32) for count in rng.integers(0, 5, steps)]
    seen[:] = [rng.integers(0, 2, count).astype(bool) for count in rng.integers(0, 5, steps)]
    return Segment(
        lane=lane,
        first_sequence=first,
        episode=first,
        observation={
            "observation.image": rng.integers(0, 256, (steps + 1, 4, 4, 3), np.uint8),
            "observation.joints.0": rng.standard_normal((steps + 1, 2), np.float32),
            "observation.joints.1": rng.integers(0, 2, (steps + 1, 3)).astype(np.int8),
        },
        action={"action": rng.integers(0, 5, steps)},
        reward=rng.standard_normal(steps).astype(np.float32),
        terminated=np.arange(steps) == steps - 1 if closed else np.zeros(steps, bool),
        truncated=np.zeros(steps, bool),
        duration_s=rng.random(steps),
        started_at_s=np.zeros(steps),
        end_kind=rng.integers(0, 2, steps).astype(np.uint8),
        log_prob=rng.standard_normal(steps).astype(np.float32),
        policy_version=rng.integers(0, 9, steps),
        extras={
            "lap": rng.integers(0, 9, steps),
            "hits": hits,
            "seen": seen,
            "near": rng.integers(0, 2, (steps, 2)).astype(bool),
            "weather": rng.random((steps, 2, 2)),
        },
        core_state={"core_state.memory": rng.random((steps, 3), np.float32)},
        closed=closed,
    )


def chunks_of(count: int, first_row: int = 1, padding: int = 0) -> list[StoredChunk]:
    """Messages of two lanes, the second one closed in each."""
    chunks = []
    for number in range(count):
        body = encode_chunk(
            SCHEMA, [segment_of(0, 7 * number, 7, closed=False), segment_of(3, 6 * number, 5, closed=True)], now_s=1.0
        )
        chunks.append(
            StoredChunk(
                first_row + 13 * number, 13, f"actor-{number % 2}", 40 + number % 2, number + 1, 1e9, 0.5, body + b"\0" * padding
            )
        )
    return chunks


def identity_of(stream: tuple[str, int]) -> str:
    return Identity(role="actor", host="box", environment_id="Robot-v0", seed=stream[1]).to_json()


@pytest.fixture
def archiver(tmp_path: Path) -> Callable[..., Archiver]:
    return lambda **told: Archiver(tmp_path / "chunks", 2, identity_of, Metrics("replay"), **told)


async def written_by(archiver: Archiver, chunks: list[StoredChunk]) -> None:
    archiver.offer(chunks, SCHEMA)
    running = asyncio.create_task(archiver.run())
    await asyncio.wait_for(archiver.flush(), DEADLINE_S)
    running.cancel()


async def test_rows_come_back_bit_by_bit(archiver, tmp_path):
    chunks = chunks_of(4)
    await written_by(archiver(), chunks)
    (file,) = archive_files(tmp_path / "chunks", 2)
    assert (file.first_row, file.last_row, archived_schema(file)) == (1, 52, SCHEMA)
    assert lives_in(file)["actor-1", 41] == {"last_row": 52, "identity": vars(Identity.from_json(identity_of(("", 41))))}
    pieces = list(archived_rows(file, SCHEMA))
    assert [(piece.first_row, piece.stream) for piece in pieces] == [(c.first_row, c.stream) for c in chunks]
    for piece, chunk in zip(pieces, chunks, strict=True):
        expected = decode_chunk(SCHEMA, chunk.body)
        steps = (expected.kind & STEP) > 0
        for name in ("lane", "sequence", "episode", "kind"):
            np.testing.assert_array_equal(getattr(piece.rows, name), getattr(expected, name))
        for name in ("reward", "duration_s", "log_prob", "policy_version"):
            np.testing.assert_array_equal(getattr(piece.rows, name)[steps], getattr(expected, name)[steps])
        for name, column in expected.columns.items():
            assert piece.rows.columns[name].tobytes() == column.tobytes()
        hits, wanted = piece.rows.ragged["hits"], expected.ragged["hits"]
        np.testing.assert_array_equal(np.diff(hits.offsets), np.diff(wanted.offsets))
        np.testing.assert_array_equal(hits.values[hits.offsets[0] : hits.offsets[-1]], wanted.values)


async def test_reading_goes_on_inside_a_file(archiver, tmp_path):
    await written_by(archiver(), chunks_of(2))
    (file,) = archive_files(tmp_path / "chunks")
    first, second = archived_rows(file, SCHEMA, after_row=9)
    assert (first.first_row, len(first.rows), second.first_row) == (10, 4, 14)


async def test_a_batch_of_several_shards_is_put_together_in_its_order(tmp_path):
    """Shard 1 holds the rows of shard 0 as well, and some before them."""
    write_archive(archive_folder(tmp_path), SCHEMA, 0, chunks_of(4), {})
    write_archive(
        archive_folder(tmp_path), SCHEMA, 1, [replace(chunks_of(1)[0], client_id="actor-9"), *chunks_of(4, first_row=14)], {}
    )
    items = ArchivedItems(tmp_path, TableSettings(capacity_steps=2_000))
    key, shard = np.array([1, 14, 29, 16], np.uint64), np.array([0, 1, 1, 0], np.uint16)
    mixed, alone = items.columns(key, shard), items.columns(np.array([1, 1, 16, 16], np.uint64), np.zeros(0, np.uint16))
    for name, column in alone.items():
        assert mixed[name].tobytes() == column.tobytes(), name


async def test_an_item_that_was_never_whole_is_named(tmp_path):
    write_archive(archive_folder(tmp_path), SCHEMA, 0, chunks_of(1), {})
    with pytest.raises(CheckpointError, match="holds no item 99"):
        ArchivedItems(tmp_path, TableSettings(capacity_steps=2_000)).columns(np.array([99], np.uint64), np.zeros(0, np.uint16))


async def test_a_chunk_may_be_deleted_once_it_is_archived(archiver):
    one = archiver()
    chunks = chunks_of(3)
    one.offer(chunks[:2], SCHEMA)
    assert one.deletable([1, 14]) == ([], [1, 14])
    await written_by(one, [])
    one.offer(chunks[2:], SCHEMA)
    assert one.deletable([1, 14, 27]) == ([1, 14], [27])


async def test_a_second_life_archives_only_what_the_first_one_had_not(archiver, tmp_path):
    await written_by(archiver(), chunks_of(2))
    await written_by(archiver(), chunks_of(5))
    assert [(file.first_row, file.last_row) for file in archive_files(tmp_path / "chunks")] == [(1, 26), (27, 65)]


async def test_a_disk_that_refuses_is_said_and_inserts_wait_until_it_has_room(archiver, tmp_path):
    (tmp_path / "chunks").write_text("a file where the folder should be")
    one = archiver(file_age_s=0.01)
    one.offer(chunks_of(9, padding=FILE_BYTES), SCHEMA)
    running, room = asyncio.create_task(one.run()), asyncio.create_task(one.until_room())
    async with asyncio.timeout(DEADLINE_S):
        while one.status == "ok":
            await asyncio.sleep(0.01)
    assert "cannot be written" in one.status
    assert not room.done()
    (tmp_path / "chunks").unlink()
    await asyncio.wait_for(room, DEADLINE_S)
    await asyncio.wait_for(one.flush(), DEADLINE_S)
    assert (one.status, one.archived_row) == ("ok", 117)
    running.cancel()
