"""Is what a server can still lose kept, and no more than that, however slowly chunks come?"""

import pytest

from replay.commit import StoredChunk
from replay.tail import KEPT_CHUNK_BYTES, TAIL_BYTES, TAIL_S, Tail


class World:
    def __init__(self) -> None:
        self.now_s = 0.0
        self.tail = Tail(lambda: self.now_s)

    def add(self, row: int, body_bytes: int = 100) -> None:
        self.tail.add(StoredChunk(row, 1, "actor-0", 7, row, 1.0, 0.5, bytes(body_bytes)))

    def rows_behind(self, row: int) -> list[int]:
        return [chunk.first_row for chunk in self.tail.behind(row)]


@pytest.fixture
def world() -> World:
    return World()


def test_what_lies_behind_a_row_is_there_in_order(world: World) -> None:
    for row in (1, 2, 3):
        world.add(row)
    assert world.rows_behind(0) == [1, 2, 3]
    assert world.rows_behind(2) == [3]


def test_at_a_slow_rate_it_stops_growing_after_a_minute(world: World) -> None:
    """It once grew by 7 MiB a minute until its 64 MiB were full, which a load of minutes could not tell from a leak."""
    sizes = []
    for second in range(300):
        world.now_s = float(second)
        world.add(second + 1)
        sizes.append(world.tail.bytes)
    assert sizes[60] == 61 * (100 + KEPT_CHUNK_BYTES)
    assert set(sizes[60:]) == {sizes[60]}
    assert world.rows_behind(0)[0] == 300 - TAIL_S


def test_at_a_high_rate_it_is_bounded_in_bytes_chunks_themselves_included(world: World) -> None:
    body_bytes = TAIL_BYTES // 8 - KEPT_CHUNK_BYTES
    for row in range(1, 21):
        world.add(row, body_bytes)
        assert world.tail.bytes <= TAIL_BYTES
    assert world.rows_behind(0) == list(range(13, 21))
