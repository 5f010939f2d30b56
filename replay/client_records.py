"""What each client last said of itself: who it is, what runs, how many actions it began and how they ended.

Pure: no I/O, the clock is handed in. Counters are cumulative within an incarnation; the shard's totals add what each report says more
than the one before it, so that a repeated or late report counts nothing twice.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sojourn.experience import EndKind

LISTED_CLIENTS = 20


@dataclass(frozen=True)
class Identity:
    """Who a client said it is in Hello. role: "actor" | "learner" | "evaluator" | "operator"."""

    role: str = ""
    host: str = ""
    pool: str = ""
    speed_class: str = ""
    environment_id: str = ""
    environment_version: str = ""
    seed: int = 0
    learner_group: str = ""
    rank: int = 0
    world: int = 1

    def to_json(self) -> str:
        return json.dumps(vars(self), separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "Identity":
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Running:
    """An action that was running when it was reported, or that ended without a row.  age_s: then, or when it ended.

    ended_ago_s: since it ended.  odd: the ages that were told are no ages, and stand as 0 here.
    """

    lane: int
    action_number: int
    age_s: float
    policy_version: int
    task: str = ""
    episode_age_s: float = 0.0
    ended: EndKind | None = None
    ended_ago_s: float = 0.0
    odd: bool = False


@dataclass(frozen=True)
class Counts:
    """Actions of one incarnation, over its lanes: begun, and ended by kind (indexed by `EndKind`)."""

    started: int = 0
    ended: tuple[int, ...] = (0,) * len(EndKind)

    def more_than(self, earlier: "Counts") -> "Counts":
        """What was counted since `earlier`; a report that lags behind adds nothing."""
        ended = tuple(max(0, now - before) for now, before in zip(self.ended, earlier.ended, strict=True))
        return Counts(max(0, self.started - earlier.started), ended)

    def plus(self, other: "Counts") -> "Counts":
        ended = tuple(mine + theirs for mine, theirs in zip(self.ended, other.ended, strict=True))
        return Counts(self.started + other.started, ended)

    @property
    def open(self) -> int:
        """Begun and not ended."""
        return max(0, self.started - sum(self.ended))


@dataclass
class ClientRecord:
    """One client's latest life.  heard_at_s: the service's clock when it last spoke.  message_number: its last Insert."""

    client_id: str
    incarnation: int
    identity: Identity
    heard_at_s: float
    message_number: int = 0
    counts: Counts = Counts()
    running: Sequence[Running] = ()

    def oldest_running_s(self, now_s: float) -> float:
        """Age of the action that has run longest, 0 if none runs."""
        oldest = max((action.age_s for action in self.running), default=None)
        return 0.0 if oldest is None else oldest + now_s - self.heard_at_s


@dataclass
class ClientRecords:
    """All clients of the shard. `totals` holds every life that ever reported, also through restarts of the service.

    Invariant: at most one record per client, of its newest incarnation.
    """

    totals: Counts = Counts()
    _records: dict[str, ClientRecord] = field(default_factory=dict)
    _remembered: dict[str, tuple[int, Counts]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ClientRecord]:
        return iter(self._records.values())

    def __getitem__(self, client_id: str) -> ClientRecord:
        return self._records[client_id]

    def get(self, client_id: str) -> ClientRecord | None:
        return self._records.get(client_id)

    def hello(self, client_id: str, incarnation: int, identity: Identity, now_s: float) -> None:
        """A client opened or continued a life. Actions that its older life left open died with it."""
        known = self._records.get(client_id)
        if known is not None and known.incarnation > incarnation:
            return  # it drains an older life; the newer one is the client
        if known is not None and known.incarnation == incarnation:
            known.identity, known.heard_at_s = identity, now_s
            return
        before, counts = self._remembered.get(client_id, (0, Counts()))
        if before == incarnation:
            self._records[client_id] = ClientRecord(client_id, incarnation, identity, now_s, counts=counts)
            return
        crashed = [0] * len(EndKind)
        crashed[EndKind.CRASHED] = counts.open
        self.totals = self.totals.plus(Counts(0, tuple(crashed)))
        self._remembered[client_id] = (incarnation, Counts())
        self._records[client_id] = ClientRecord(client_id, incarnation, identity, now_s)

    def heartbeat(self, client_id: str, incarnation: int, counts: Counts, running: Sequence[Running], now_s: float) -> Counts:
        """Take a report. Returns what it says more than the one before."""
        record = self._records.get(client_id)
        if record is None or record.incarnation != incarnation:
            return Counts()  # a life that another has replaced
        more = counts.more_than(record.counts)
        record.counts = record.counts.plus(more)
        record.running = [action for action in running if action.ended is None]
        record.heard_at_s = now_s
        self.totals = self.totals.plus(more)
        self._remembered[client_id] = (incarnation, record.counts)
        return more

    def heard(self, client_id: str, incarnation: int, now_s: float, message_number: int = 0) -> None:
        """It spoke on another stream."""
        record = self._records.get(client_id)
        if record is not None and record.incarnation == incarnation:
            record.heard_at_s = now_s
            record.message_number = max(record.message_number, message_number)

    def running_actions(self) -> int:
        return sum(len(record.running) for record in self._records.values())

    def oldest_running_s(self, now_s: float) -> float:
        return max((record.oldest_running_s(now_s) for record in self._records.values()), default=0.0)

    def most_remarkable(self, now_s: float) -> list[ClientRecord]:
        """The twenty with the oldest running action or the longest silence."""

        def remarkable_s(record: ClientRecord) -> float:
            return max(record.oldest_running_s(now_s), now_s - record.heard_at_s)

        return sorted(self._records.values(), key=remarkable_s, reverse=True)[:LISTED_CLIENTS]

    def to_json(self) -> bytes:
        """For the snapshot: totals, and each client's counts, so that a restarted service counts on."""
        clients = {
            client_id: [incarnation, counts.started, *counts.ended]
            for client_id, (incarnation, counts) in self._remembered.items()
        }
        return json.dumps({"totals": [self.totals.started, *self.totals.ended], "clients": clients}).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "ClientRecords":
        said = json.loads(text)
        totals = Counts(said["totals"][0], tuple(said["totals"][1:]))
        remembered = {client_id: (row[0], Counts(row[1], tuple(row[2:]))) for client_id, row in said["clients"].items()}
        return cls(totals, {}, remembered)
