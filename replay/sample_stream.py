"""One shard's Sample stream: grants credits, receives messages of several batches, and hands them out draw by draw.

Threads: gRPC's own thread pulls the requests, one thread receives and decodes, the learner takes. Batches are NumPy views into
the received message; nothing is copied. What is queued and what is granted never exceed the prefetch together.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from protos import replay_pb2 as pb
from replay.bodies import decode_columns
from replay.facts import TableFacts, facts_of, start_summary_of
from replay.link import Link, Session, our_errors
from replay.start_summary import StartSummary
from sojourn.experience import Columns

IDLE_S = 0.5  # how often a request may go out only to report the learner step; how soon a closed ratio is looked at again
INFO = "info."


@dataclass(frozen=True, eq=False)
class Message:
    """Draws of equal size that came together: what is computed of all their rows at once costs each of them little.

    info: rows of the first draw, then of the next one.  draws: how many.
    """

    info: Columns
    draws: int


@dataclass(frozen=True)
class Draw:
    """One draw of a shard: rows of `columns` and of `info` (the columns `info.*`, without the prefix), and its lease.

    facts: of the shard's table at the draw.  message, place: what it came with, if that were draws of one size, and its number there.
    """

    columns: Columns
    info: Columns
    facts: TableFacts
    draw_id: int
    redelivered: bool
    message: Message | None = None
    place: int = 0

    def __len__(self) -> int:
        return len(self.info["key"])


class SampleStream:
    """Draws of one table of one shard, received ahead of use.

    Invariant: queued draws + granted credits <= prefetch. All state is guarded by `arrived`, a re-entrant lock that the streams
    of a learner share, so that a batch can be put together from several at one moment.
    """

    def __init__(
        self,
        link: Link,
        arrived: threading.Condition,
        *,
        table: str,
        batch_size: int,
        prefetch: int,
        batches_per_message: int,
        may_draw: Callable[[], bool],
        now_s: Callable[[], float] = time.monotonic,
        others: Callable[[], tuple[int, int, int]] = lambda: (0, 0, 0),
    ) -> None:
        """may_draw: whether the ratio of samples to inserts over all shards leaves room; called holding `arrived`.

        now_s: the learner's clock, which the service's is compared with.
        others: items that all other shards have inserted, sampled and begun with; called holding `arrived`.
        """
        self._link = link
        self._arrived = arrived
        self._table = table
        self._batch_size = batch_size
        self._prefetch = prefetch
        self._batches_per_message = min(batches_per_message, prefetch)
        self._may_draw = may_draw
        self._now_s = now_s
        self._queue: deque[Draw] = deque()
        self._granted = 0
        self._learner_step = 0
        self._policy_version = 0
        self._others = others
        self._told_others = (0, 0, 0)
        self._reported = (0, 0)  # learner step and policy version
        self.start_summary = StartSummary()
        self.start_log_number = 0
        self._closing = False
        self.gone = False  # the shard has left the run
        self.messages = 0
        self.share = 1.0
        self.facts = TableFacts(name=table)
        self.facts_count = 0

    @property
    def queued(self) -> int:
        """Draws that can be taken."""
        return len(self._queue)

    @property
    def granted_items(self) -> int:
        """Items that the shard may still send."""
        return self._granted * self._batch_size

    @property
    def connected(self) -> bool:
        return self._link.connected

    def take(self) -> Draw:
        """The oldest draw; the caller has seen that there is one."""
        with self._arrived:
            draw = self._queue.popleft()
            if self._grantable():
                self._arrived.notify_all()
            return draw

    def report(self, learner_step: int, policy_version: int = 0) -> None:
        """Set what the next request says about the learner; a new policy version is said at once."""
        self._learner_step = learner_step
        if policy_version > self._policy_version:
            with self._arrived:
                self._policy_version = policy_version
                self._arrived.notify_all()

    def told(self, message: pb.TableFacts) -> None:
        """Take facts and, if there is news of it, the start log: with a draw, or another way."""
        facts, summary = facts_of(message), start_summary_of(message, self._now_s())
        with self._arrived:
            if summary is not None:
                self.start_log_number, self.start_summary = message.start_log_number, summary
            self.learned(facts)

    def learned(self, facts: TableFacts) -> None:
        """Take facts."""
        with self._arrived:
            if facts.env_steps < self.facts.env_steps:  # a draw may have waited while a later answer came another way
                facts = replace(facts, env_steps=self.facts.env_steps)
            self.facts = facts
            self.facts_count += 1
            self._arrived.notify_all()

    def leave(self, facts: TableFacts) -> None:
        """The shard has left the run with these counts; what it sent last is of items that are gone."""
        with self._arrived:
            self.gone = self._closing = True
            self._queue.clear()
            self.learned(facts)

    def close(self) -> None:
        """End the stream. Leases that were not consumed end with it, in their order."""
        with self._arrived:
            self._closing = True
            self._arrived.notify_all()

    def serve(self, session: Session) -> bool:
        """Grant and receive on one session until it breaks (raises) or the stream is closed (True)."""
        ended = threading.Event()
        with self._arrived:
            self._granted = 0
            self._reported, self._told_others = (0, 0), (0, 0, 0)
        try:
            requests = self._requests(session, ended)
            with our_errors():
                replies = session.stub.Sample(requests, metadata=session.metadata)
            for reply in replies:
                self._received(reply)
        finally:
            ended.set()
            with self._arrived:
                self._granted = 0
                self._queue = deque(draw for draw in self._queue if not draw.draw_id)  # leases end with their stream
                self._arrived.notify_all()
        return self._closing

    def _received(self, reply: pb.SampleReply) -> None:
        columns = decode_columns(reply.rows)
        info = {name.removeprefix(INFO): columns.pop(name) for name in list(columns) if name.startswith(INFO)}
        facts = facts_of(reply.table)
        message = Message(info, len(reply.draws)) if len({draw.size for draw in reply.draws}) == 1 else None
        draws, start = [], 0
        for place, draw in enumerate(reply.draws):
            rows = slice(start, start + draw.size)
            start += draw.size
            draws.append(Draw(_rows(columns, rows), _rows(info, rows), facts, draw.draw_id, draw.redelivered, message, place))
        with self._arrived:
            self._queue.extend(draws)
            self._granted -= len(draws)
            self.messages += 1
            self.told(reply.table)

    def _grantable(self) -> int:
        """Credits to grant now: a message's worth at a time, or whatever is free when the shard has none left."""
        free = self._prefetch - self._granted - len(self._queue)
        worth_it = free >= self._batches_per_message or (self._granted == 0 and free > 0)
        return free if worth_it and self._may_draw() else 0

    @property
    def _has_idle_news(self) -> bool:
        """What may wait for a moment, and must be said some time: a shard that waits for what it does not know would wait for ever."""
        return self._learner_step != self._reported[0] or self._others() != self._told_others

    @property
    def _has_version_news(self) -> bool:
        return self._policy_version != self._reported[1]

    def _requests(self, session: Session, ended: threading.Event) -> Iterator[pb.SampleRequest]:
        asked_s = time.monotonic()
        while True:
            with self._arrived:
                while not (ended.is_set() or self._closing or self._grantable() or self._has_version_news):
                    left_s = (
                        asked_s + IDLE_S - time.monotonic()
                    )  # whatever else wakes this thread: other shards' answers often do
                    if left_s <= 0.0 and self._has_idle_news:
                        break
                    self._arrived.wait(left_s if left_s > 0.0 else IDLE_S)
                if ended.is_set() or self._closing:
                    return
                request = self._request(session, self._grantable())
            asked_s = time.monotonic()
            yield request

    def _request(self, session: Session, credits: int) -> pb.SampleRequest:
        self._granted += credits
        self._reported = (self._learner_step, self._policy_version)
        self._told_others = inserted_items, sampled_items, imported_items = self._others()
        return pb.SampleRequest(
            client_id=self._link.client_id,
            incarnation=session.incarnation,
            table=self._table,
            batch_size=self._batch_size,
            credits=credits,
            max_batches_per_message=self._batches_per_message,
            learner_step=self._learner_step,
            share=self.share,
            policy_version=self._policy_version,
            other_inserted_items=inserted_items,
            other_sampled_items=sampled_items,
            other_imported_items=imported_items,
        )


def _rows(columns: Columns, rows: slice) -> Columns:
    return {name: column[rows] for name, column in columns.items()}
