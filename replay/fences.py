"""Which incarnation of a client may insert, and which message comes next. Pure: no I/O, the clock is handed in.

A client's life is an *incarnation*; its Insert messages are numbered 1, 2, 3 ... within it. The fence of an incarnation is the last
number that the shard has. It recognises a resend, and it shuts out a life that another one has replaced.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from replay.answers import Stream
from sojourn.errors import ContractError


class Verdict(Enum):
    """What a message is."""

    NEXT = "next"
    DUPLICATE = "duplicate"


@dataclass
class Fence:
    """One incarnation's place.

    taken: last number taken in, perhaps not durable yet.  stored: last number acknowledged durably.
    anchored: False until the first message of an incarnation that this shard has no memory of (level `memory`, after a restart).
    closed: its lanes were cut, either by its final message or by its successor.
    draining: a successor declared that it drains what this life left behind.
    """

    taken: int = 0
    stored: int = 0
    anchored: bool = True
    closed: bool = False
    draining: bool = False

    def to_text(self) -> str:
        """As the durable tier keeps it."""
        return f"{self.taken} {'closed' if self.closed else 'live'}"

    def durable(self, written: int) -> "Fence":
        """What a restart may believe when the messages up to `written` lie in the durable tier."""
        number = max(self.stored, written)
        return Fence(number, number, closed=self.closed and number >= self.taken)

    @classmethod
    def from_text(cls, text: str) -> "Fence":
        number, state = text.split()
        return cls(int(number), int(number), closed=state == "closed")


class Fences:
    """All incarnations that the shard has seen.

    Invariant: of each client at most one incarnation, the newest, is live; older ones insert only while declared as draining.
    `taken` never falls, `stored` <= `taken`. Not thread-safe.
    """

    def __init__(self, kept: Mapping[str, str] | None = None) -> None:
        """kept: what the durable tier has, by `field_of(stream)`."""
        self._fences: dict[Stream, Fence] = {}
        self._lives: dict[str, list[int]] = {}
        for name, text in (kept or {}).items():
            self._add(stream_of(name), Fence.from_text(text))

    def _add(self, stream: Stream, fence: Fence) -> None:
        self._fences[stream] = fence
        self._lives.setdefault(stream[0], []).append(stream[1])

    def __getitem__(self, stream: Stream) -> Fence:
        return self._fences[stream]

    def newest(self, client_id: str) -> int:
        """The client's live incarnation; 0 if it was never seen."""
        return max(self._lives.get(client_id, ()), default=0)

    def closed_streams(self) -> list[Stream]:
        return [stream for stream, fence in self._fences.items() if fence.closed]

    def open_streams(self) -> list[Stream]:
        return [stream for stream, fence in self._fences.items() if not fence.closed]

    def open_new(self, client_id: str, last_incarnation: int, now_us: int) -> Stream:
        """Grant a new life: above every one the shard or the client knows, and near the clock so that it is so on other shards."""
        incarnation = max(self.newest(client_id) + 1, last_incarnation + 1, now_us)
        self._add((client_id, incarnation), Fence())
        return client_id, incarnation

    def go_on(self, stream: Stream, last_incarnation: int) -> None:
        """Continue a life after a reconnect, or drain what an older one left. ContractError if a successor replaced that life.

        last_incarnation: the newest that the client knows; equal to the stream's if it is the same life.
        """
        client_id, incarnation = stream
        if incarnation < self.newest(client_id):
            if last_incarnation <= incarnation:
                raise ContractError(
                    f"incarnation {incarnation} of {client_id} was replaced by {self.newest(client_id)}: say hello as a new life"
                )
            fence = self._known(stream)
            fence.draining, fence.closed = True, False
        self._known(stream)

    def _known(self, stream: Stream) -> Fence:
        if stream not in self._fences:
            self._add(stream, Fence(anchored=False))
        return self._fences[stream]

    def admit(self, stream: Stream) -> None:
        """Raise ContractError unless this incarnation may insert now."""
        client_id, incarnation = stream
        fence = self._fences.get(stream)
        if fence is None:
            raise ContractError(f"incarnation {incarnation} of {client_id} is not known here: say hello first")
        if incarnation < self.newest(client_id) and not fence.draining:
            raise ContractError(
                f"incarnation {incarnation} of {client_id} was replaced by {self.newest(client_id)}; its rows are refused "
                "unless the new life declares in Hello that it drains them (inherit_incarnation)"
            )

    def judge(self, stream: Stream, number: int) -> Verdict:
        """Is it the next message or one that the shard has? ContractError if numbers between are missing."""
        fence = self._fences[stream]
        if number <= fence.taken:
            return Verdict.DUPLICATE
        if fence.closed:
            raise ContractError(f"{stream[0]}/{stream[1]} was finished by message {fence.taken}: say hello as a new life")
        if fence.anchored and number != fence.taken + 1:
            raise ContractError(
                f"message {number} of {stream[0]}/{stream[1]} came, but {fence.taken + 1} is next: send from there"
            )
        return Verdict.NEXT

    def take(self, stream: Stream, number: int, *, final: bool) -> None:
        """The message is in; it is durable once `store` is called."""
        fence = self._fences[stream]
        fence.taken, fence.anchored = number, True
        fence.closed = fence.closed or final

    def store(self, stream: Stream, number: int) -> None:
        self._fences[stream].stored = max(self._fences[stream].stored, number)

    def open_before(self, client_id: str, incarnation: int) -> list[Stream]:
        """Older lives of the client whose lanes nobody has cut and nobody drains."""
        older = [(client_id, life) for life in self._lives.get(client_id, ()) if life < incarnation]
        return [stream for stream in older if not self._fences[stream].closed and not self._fences[stream].draining]

    def close(self, stream: Stream) -> None:
        """Its lanes are cut."""
        self._fences[stream].closed = True

    def to_texts(self, streams: Iterable[Stream] | None = None) -> dict[str, str]:
        """What the durable tier keeps for these streams; None: for all."""
        return {field_of(stream): self._fences[stream].to_text() for stream in (self._fences if streams is None else streams)}

    def durable_texts(self, written: Mapping[Stream, int]) -> dict[str, str]:
        """As `to_texts` of all, without messages whose commit is under way: whoever believed those would drop their resends.

        written: last message of lives that the durable tier has, perhaps not yet acknowledged.
        """
        return {field_of(stream): fence.durable(written.get(stream, 0)).to_text() for stream, fence in self._fences.items()}


def field_of(stream: Stream) -> str:
    return f"{stream[0]}/{stream[1]}"


def stream_of(name: str) -> Stream:
    client_id, _, incarnation = name.rpartition("/")
    return client_id, int(incarnation)
