"""One open Insert call on the service's side: what of it waits, what it is answered, and how it ends. No I/O of its own."""

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum

from replay.answers import Stream
from replay.wakeups import Wakeups
from sojourn.errors import SojournError


class Outcome(Enum):
    """How an Insert message was answered."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REFUSED = "refused"


@dataclass(frozen=True)
class Answer:
    """An acknowledgement. reason: why it was refused.  env_steps: accepted steps of the shard then."""

    message_number: int
    outcome: Outcome
    reason: str
    env_steps: int


class InsertCall:
    """An open Insert call of one life.

    Invariant: answers leave in the order of the messages; once it has failed, nothing more is taken from it.
    """

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.waiting = 0
        self.error: SojournError | None = None
        self._answers: deque[Answer] = deque()
        self._ended = False
        self._changed = Wakeups()

    def took(self) -> None:
        """One more message waits for its answer."""
        self.waiting += 1

    def answer(self, answer: Answer) -> None:
        self.waiting -= 1
        self._answers.append(answer)
        self._changed.notify()

    def drop(self) -> None:
        """A message will not be answered: the call has failed before it."""
        self.waiting -= 1
        self._changed.notify()

    def fail(self, error: SojournError) -> None:
        """End the call with this error, once everything taken from it is answered."""
        self.error = self.error or error
        self._changed.notify()

    def end(self) -> None:
        """The client will send no more."""
        self._ended = True
        self._changed.notify()

    async def answers(self) -> AsyncIterator[Answer]:
        """Answers as they come; ends when all is answered. Raises what the call failed with."""
        while True:
            while self._answers:
                answer = self._answers.popleft()
                self._changed.notify()
                yield answer
            if self.waiting == 0 and self.error is not None:
                raise self.error
            if self.waiting == 0 and self._ended:
                return
            await self._changed.next()

    async def until_room(self, window: int) -> None:
        """Return once fewer than `window` messages wait, for their answer or with it for the client, or the call has failed.

        A client that never reads its answers is read no further, or they would fill the service.
        """
        await self._changed.until(lambda: self.waiting + len(self._answers) < window or self.error is not None)
