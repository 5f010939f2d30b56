"""Holds an actor's unacknowledged messages, in order, within a byte budget. In memory; no I/O, no clock, no threads.

A message leaves when it is acknowledged, whether stored or refused. What is here when the service comes back is sent again.
"""

from collections import OrderedDict
from dataclasses import dataclass

from sojourn.errors import ValidationError


@dataclass(frozen=True)
class Message:
    """One Insert message as it was made.

    number: 1, 2, 3 ... within the incarnation.  rows: Arrow IPC body.  steps: environment steps in it.
    made_at_s: this process's monotonic clock when the body's ages were written.  final: nothing follows.
    """

    number: int
    rows: bytes
    steps: int
    made_at_s: float
    final: bool = False


class OutageBuffer:
    """Messages by number. Not thread-safe: its owner calls it while holding a lock.

    Invariant (`check`): numbers rise, `bytes` and `steps` are the sums over messages, and only a lone message may exceed the budget.
    """

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.bytes = self.steps = 0
        self._messages: OrderedDict[int, Message] = OrderedDict()

    def __len__(self) -> int:
        return len(self._messages)

    def has_room(self, size_bytes: int) -> bool:
        """Whether a body of that size fits; an empty buffer takes any, or a large one could never be sent."""
        return not self._messages or self.bytes + size_bytes <= self.budget_bytes

    def append(self, message: Message) -> None:
        """Keep a message, which must be newer than all others. Raises ValidationError otherwise."""
        newest = next(reversed(self._messages), 0)
        if message.number <= newest:
            raise ValidationError(f"message {message.number} cannot follow message {newest}")
        self._messages[message.number] = message
        self.bytes += len(message.rows)
        self.steps += message.steps

    def acknowledge(self, number: int) -> Message | None:
        """Let go of one message; None if it was acknowledged before."""
        message = self._messages.pop(number, None)
        if message is not None:
            self.bytes -= len(message.rows)
            self.steps -= message.steps
        return message

    def acknowledge_through(self, number: int) -> list[Message]:
        """Let go of all messages up to and including `number`, oldest first."""
        stored = [kept for kept in self._messages if kept <= number]
        return [message for kept in stored if (message := self.acknowledge(kept)) is not None]

    def after(self, number: int) -> Message | None:
        """The oldest message above `number`, or None."""
        return next((message for kept, message in self._messages.items() if kept > number), None)

    def check(self) -> None:
        """Prove the invariant, or raise AssertionError."""
        numbers = list(self._messages)
        assert numbers == sorted(set(numbers)), numbers
        assert self.bytes == sum(len(message.rows) for message in self._messages.values()), self.bytes
        assert self.steps == sum(message.steps for message in self._messages.values()), self.steps
