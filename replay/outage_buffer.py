"""Holds an actor's unacknowledged messages, in order, within a byte budget: in memory, then in a spill file. No clock, no threads.

A message leaves when it is acknowledged, whether stored or refused. What is here when the service comes back is sent again.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sojourn.errors import ValidationError


@dataclass(frozen=True)
class Message:
    """One Insert message as it was made.

    number: 1, 2, 3 ... within the incarnation.  rows: Arrow IPC body; empty on a bare farewell, and once it left from a file.
    steps: environment steps in it.  made_at_s: this process's monotonic clock when the body's ages were written.
    final: nothing follows.
    """

    number: int
    rows: bytes
    steps: int
    made_at_s: float
    final: bool = False


class Spill(Protocol):
    """What a buffer needs of the file behind it: `replay.spill.SpillFile`."""

    bytes: int
    steps: int

    def __len__(self) -> int: ...
    @property
    def numbers(self) -> Iterator[int]: ...
    def append(self, message: Message, made_unix_s: float) -> bool: ...
    def after(self, number: int) -> int | None: ...
    def read(self, number: int) -> Message: ...
    def acknowledge(self, number: int) -> Message | None: ...


class OutageBuffer:
    """Messages by number. Not thread-safe: its owner calls it while holding a lock.

    Invariant (`check`): numbers rise, those in the file before those in memory; `bytes` are the ones in memory, `steps` all; only a
    lone message may exceed the budget.
    """

    def __init__(self, budget_bytes: int, spill: Spill | None = None) -> None:
        self.budget_bytes = budget_bytes
        self.bytes = 0
        self._steps = 0
        self._messages: OrderedDict[int, Message] = OrderedDict()
        self._spill = spill

    def __len__(self) -> int:
        return len(self._messages) + self.spilled_messages

    @property
    def steps(self) -> int:
        return self._steps + (0 if self._spill is None else self._spill.steps)

    @property
    def spilled_messages(self) -> int:
        return 0 if self._spill is None else len(self._spill)

    @property
    def spilled_bytes(self) -> int:
        return 0 if self._spill is None else self._spill.bytes

    @property
    def newest(self) -> int:
        """Number of the newest message, 0 if there is none."""
        if self._messages:
            return next(reversed(self._messages))
        return max(self._spill.numbers, default=0) if self._spill is not None else 0

    def has_room(self, size_bytes: int) -> bool:
        """Whether a body of that size fits into memory; an empty buffer takes any, or a large one could never be sent."""
        return not self._messages or self.bytes + size_bytes <= self.budget_bytes

    def append(self, message: Message) -> None:
        """Keep a message, which must be newer than all others. Raises ValidationError otherwise."""
        newest = next(reversed(self._messages), 0)
        if message.number <= newest:
            raise ValidationError(f"message {message.number} cannot follow message {newest}")
        self._messages[message.number] = message
        self.bytes += len(message.rows)
        self._steps += message.steps

    def spill(self, now_s: float, unix_s: float) -> bool:
        """Move what is in memory to the file, oldest first. Returns whether all of it could be moved.

        now_s: on the clock of the messages' `made_at_s`.  unix_s: the wall clock at the same time.
        """
        while self._spill is not None and self._messages:
            number, message = next(iter(self._messages.items()))
            if not self._spill.append(message, unix_s - (now_s - message.made_at_s)):
                break
            self._drop(number)
        return not self._messages

    def acknowledge(self, number: int) -> Message | None:
        """Let go of one message; None if it was acknowledged before."""
        spilled = None if self._spill is None else self._spill.acknowledge(number)
        return self._drop(number) if spilled is None else spilled

    def _drop(self, number: int) -> Message | None:
        message = self._messages.pop(number, None)
        if message is not None:
            self.bytes -= len(message.rows)
            self._steps -= message.steps
        return message

    def acknowledge_through(self, number: int) -> list[Message]:
        """Let go of all messages up to and including `number`, oldest first."""
        stored = [kept for kept in self._numbers() if kept <= number]
        return [message for kept in stored if (message := self.acknowledge(kept)) is not None]

    def after(self, number: int) -> Message | None:
        """The oldest message above `number`, or None."""
        if self._spill is not None and (spilled := self._spill.after(number)) is not None:
            return self._spill.read(spilled)
        return next((message for kept, message in self._messages.items() if kept > number), None)

    def _numbers(self) -> list[int]:
        return [*(() if self._spill is None else self._spill.numbers), *self._messages]

    def check(self) -> None:
        """Prove the invariant, or raise AssertionError."""
        numbers = self._numbers()
        assert numbers == sorted(set(numbers)), numbers
        assert self.bytes == sum(len(message.rows) for message in self._messages.values()), self.bytes
        assert self._steps == sum(message.steps for message in self._messages.values()), self._steps
