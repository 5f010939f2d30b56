"""A learner's ways back to one shard: priority updates and consumed leases go out in the background, facts come in.

Nothing here ever makes the learner wait. Updates that wait are coalesced, the latest of each key wins; while the shard is down they
are kept up to a bound.
"""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

import numpy as np

from protos import replay_pb2 as pb
from replay.link import CALL_TIMEOUT_S, Link, Session, our_errors
from sojourn.errors import ContractError, SojournError

GATHER_S = 0.02  # updates of so long travel in one call: a call costs both sides about 0.3 ms
FACTS_EVERY_S = 0.5
KEYS_PER_CALL = 65_536
MOST_KEYS = 1_000_000  # kept while the shard is down, 12 bytes each


class Courier:
    """What must reach one shard. Thread-safe.

    Invariant: updates of a key are sent in the order in which they were given, or only the latest of them.
    """

    def __init__(
        self,
        link: Link,
        table: str,
        heard: Callable[[pb.InfoReply], None],
        counted: Callable[[int, int, int], None],
        asked: Callable[[], pb.InfoRequest] = pb.InfoRequest,
    ) -> None:
        """heard: told what the service says about itself when it is `asked`, about twice a second.

        counted: told (applied, late, dropped) updates.
        """
        self._link = link
        self._table = table
        self._heard = heard
        self._asked = asked
        self._counted = counted
        self._changed = threading.Condition()
        self._keys: list[np.ndarray] = []
        self._priorities: list[np.ndarray] = []
        self._waiting = 0
        self._draw_ids: list[int] = []
        self._cut: tuple[pb.CheckpointRequest, Future[pb.CheckpointReply]] | None = None
        self._closing = False
        self.calls = 0

    def update(self, keys: np.ndarray, priorities: np.ndarray) -> None:
        """Queue new priorities: keys uint64[N], priorities float32[N]."""
        with self._changed:
            if not self._keys:
                self._changed.notify_all()
            self._keys.append(keys)
            self._priorities.append(priorities)
            self._waiting += len(keys)
            if self._waiting > MOST_KEYS:
                self._shrink()

    def consumed(self, draw_ids: Sequence[int]) -> None:
        """Queue the end of leases."""
        with self._changed:
            self._draw_ids.extend(draw_ids)
            self._changed.notify_all()

    def cut(self, label: str, learner_step: int, kept_label: str, learned_draws: Sequence[int]) -> "Future[pb.CheckpointReply]":
        """Ask for a cut of the tables, behind all updates that were given before. A newer one replaces one that was not sent yet.

        The answer raises what the call failed with, ContractError at level `memory`.
        """
        answer: Future[pb.CheckpointReply] = Future()
        request = pb.CheckpointRequest(
            label=label, learner_step=learner_step, kept_label=kept_label, table=self._table, learned_draws=learned_draws
        )
        with self._changed:
            self._cut = request, answer
            self._changed.notify_all()
        return answer

    def close(self) -> None:
        """Send what waits, then stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def serve(self, session: Session) -> bool:
        """Carry on one session until a call fails (raises) or all is said (True)."""
        facts_at_s = 0.0
        while True:
            if time.monotonic() - facts_at_s >= FACTS_EVERY_S:
                self._ask(session)
                facts_at_s = time.monotonic()
            closing = self._wait(facts_at_s + FACTS_EVERY_S)
            self._send_consumed(session)
            self._send_updates(session)
            self._send_cut(session)
            if closing:
                return True

    def _ask(self, session: Session) -> None:
        with our_errors():
            reply = session.stub.Info(self._asked(), timeout=CALL_TIMEOUT_S, metadata=session.metadata)
        self.calls += 1
        self._heard(reply)

    def _wait(self, until_s: float) -> bool:
        """Until there is something to carry and a little more may have joined it, or facts are due. Returns whether this is the end."""
        with self._changed:
            while (
                not (self._keys or self._draw_ids or self._cut or self._closing) and (left_s := until_s - time.monotonic()) > 0.0
            ):
                self._changed.wait(left_s)
            if self._keys:
                self._changed.wait_for(lambda: self._closing or self._cut, GATHER_S)
            return self._closing

    def _send_consumed(self, session: Session) -> None:
        with self._changed:
            draw_ids = list(self._draw_ids)
        if not draw_ids:
            return
        request = pb.ConsumedRequest(
            client_id=self._link.client_id, incarnation=session.incarnation, table=self._table, draw_ids=draw_ids
        )
        with our_errors():
            session.stub.Consumed(request, timeout=CALL_TIMEOUT_S, metadata=session.metadata)
        self.calls += 1
        with self._changed:
            del self._draw_ids[: len(draw_ids)]

    def _send_updates(self, session: Session) -> None:
        """Send all that waits; what cannot be sent goes back in front of what came meanwhile."""
        with self._changed:
            keys, priorities = latest_of_each(self._keys, self._priorities)
            self._keys, self._priorities, self._waiting = [], [], 0
        sent = 0
        try:
            while sent < len(keys):
                piece = slice(sent, sent + KEYS_PER_CALL)
                self._send_piece(session, keys[piece], priorities[piece])
                sent += KEYS_PER_CALL
        finally:
            if sent < len(keys):
                with self._changed:
                    self._keys.insert(0, keys[sent:])
                    self._priorities.insert(0, priorities[sent:])
                    self._waiting += len(keys) - sent

    def _send_piece(self, session: Session, keys: np.ndarray, priorities: np.ndarray) -> None:
        request = pb.UpdatePrioritiesRequest(
            client_id=self._link.client_id,
            incarnation=session.incarnation,
            table=self._table,
            keys=keys.astype("<u8", copy=False).tobytes(),
            priorities=priorities.astype("<f4", copy=False).tobytes(),
        )
        with our_errors():
            reply = session.stub.UpdatePriorities(request, timeout=CALL_TIMEOUT_S, metadata=session.metadata)
        self.calls += 1
        self._counted(reply.applied, reply.late, 0)

    def _send_cut(self, session: Session) -> None:
        with self._changed:
            cut, self._cut = self._cut, None
        if cut is None or not cut[1].set_running_or_notify_cancel():
            return
        request, answer = cut
        try:
            if session.hello.durability == "memory":
                raise ContractError("replay.durability is memory: there is no table state to come back to")
            with our_errors():
                answer.set_result(session.stub.Checkpoint(request, timeout=CALL_TIMEOUT_S, metadata=session.metadata))
            self.calls += 1
        except SojournError as error:
            answer.set_exception(error)

    def _shrink(self) -> None:
        """Keep the latest of each key, and of those the newest half of the bound."""
        keys, priorities = latest_of_each(self._keys, self._priorities)
        dropped = max(0, len(keys) - MOST_KEYS // 2)
        self._keys, self._priorities, self._waiting = [keys[dropped:]], [priorities[dropped:]], len(keys) - dropped
        if dropped:
            self._counted(0, 0, dropped)


def latest_of_each(keys: Sequence[np.ndarray], priorities: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Updates without those that a later one of the same key replaces, in the order in which the keys were last given.

    keys: parts uint64[n_i].  priorities: parts float32[n_i].  Returns uint64[N], float32[N].
    """
    if not keys:
        return np.zeros(0, np.uint64), np.zeros(0, np.float32)
    backwards = np.concatenate(keys)[::-1]
    _, first = np.unique(backwards, return_index=True)
    latest = len(backwards) - 1 - np.sort(first)[::-1]
    return np.concatenate(keys)[latest], np.concatenate(priorities)[latest]
