"""What tests of outages share: messages for a buffer, a plain dictionary to hold it against, and a thread that goes on inserting."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from hypothesis import strategies as st

from replay.client import ActorConnection
from replay.outage_buffer import Message, OutageBuffer
from sojourn.experience import Segment
from tests.waiting import DEADLINE_S

STEPS = 2  # of a message


def message(number: int, size: int = 100, *, final: bool = False) -> Message:
    """Its rows are so many bytes that say its number."""
    return Message(number, bytes([number % 256]) * size, steps=STEPS, made_at_s=float(number), final=final)


def calls_of(*names: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """What may be asked of a buffer one after the other: `append`, `spill`, `acknowledge`, `through`, with a size or a number."""
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 12)), max_size=40)


def followed(buffer: OutageBuffer, calls: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Make the calls; after each one the buffer must hold what a dictionary holds."""
    model: dict[int, bytes] = {}
    newest = 0
    for name, number in calls:
        match name:
            case "append":
                newest += 1
                buffer.append(message(newest, number))
                model[newest] = message(newest, number).rows
            case "spill":
                buffer.spill(0.0, 0.0)
            case "acknowledge":
                assert (buffer.acknowledge(number) is not None) == (model.pop(number, None) is not None)
            case "through":
                gone = [kept for kept in model if kept <= number]
                assert [left.number for left in buffer.acknowledge_through(number)] == gone
                model = {kept: rows for kept, rows in model.items() if kept > number}
        buffer.check()
        assert (len(buffer), buffer.steps) == (len(model), STEPS * len(model))
        assert held(buffer) == model
        yield


def held(buffer: OutageBuffer) -> dict[int, bytes]:
    """Rows by number, as they would be sent."""
    found: dict[int, bytes] = {}
    at = 0
    while (following := buffer.after(at)) is not None:
        at, found[following.number] = following.number, following.rows
    return found


class Stepping:
    """An actor's thread that inserts one segment after the other, and waits where the connection lets it wait.

    inserted: first sequence numbers of what was taken so far.
    """

    def __init__(self, actor: ActorConnection, segment_at: Callable[[int], Segment], numbers: Iterable[int]) -> None:
        self.inserted: list[int] = []
        self._thread = threading.Thread(target=self._run, args=(actor, segment_at, numbers), daemon=True)
        self._thread.start()

    def _run(self, actor: ActorConnection, segment_at: Callable[[int], Segment], numbers: Iterable[int]) -> None:
        for first in numbers:
            actor.insert(segment_at(first))
            self.inserted.append(first)

    def is_over(self, within_s: float = DEADLINE_S) -> bool:
        """Wait until everything was taken; whether it was."""
        self._thread.join(within_s)
        return not self._thread.is_alive()
