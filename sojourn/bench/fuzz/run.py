"""Sends spoilt messages to a real service for a while, and looks whether it lives, complains of itself, or harms anybody else.

A witness, one actor and one learner, uses the service meanwhile: its ledger must be clean at the end. Starts processes of its own.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from sojourn.bench.fuzz.messages import FUZZERS, Call, Messages, calls
from sojourn.bench.load.acknowledgements import Acknowledgements
from sojourn.bench.load.actors import Behaviour, SimulatedFleet, Target
from sojourn.bench.load.drawing import Drawing
from sojourn.bench.load.held import held_by
from sojourn.bench.load.ledger import Ledger
from sojourn.bench.load.shards import RUN_ID, ShardProcess, Shards, resident_bytes
from sojourn.bench.load.steps import ACTOR_BITS, HALF_CHEETAH, schema_of
from sojourn.config import Config
from sojourn.config.load import load_config
from sojourn.rpc import CONTRACT_VERSION, channel_options

WITNESS = 0x5A5A5A  # its step numbers differ in many bits from those that the fuzzer's rows have
CALL_S = 1.0
RENEW_S = 10.0
REFRESH_EVERY = 4  # cases that failed
MOST_REPLIES = 20
LOOK_EVERY = 200  # cases
LATEST = 10  # cases that are told beside a complaint
MOST_BYTES = 4 << 30
COMPLAINTS = ("Traceback (most recent call last)", "Unexpected [", "Fatal Python error")
SETTINGS = (
    "tables.replay.limiter.samples_per_insert=null",
    "tables.replay.limiter.min_size=1",
    "tables.replay.capacity_steps=200_000",
    "learners.prefetch=2",
)


@dataclass
class FuzzReport:
    """statuses: how many cases ended with which gRPC status, by call.  complaints: what must not have happened."""

    cases: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """For a person."""
        told = [f"{self.cases:,} cases in {self.seconds:.0f} s, {len(self.complaints)} complaints"]
        told += [f"  {status:45} {count:,}" for status, count in sorted(self.statuses.items())]
        return told + [f"COMPLAINT {complaint}" for complaint in self.complaints]


def fuzz(seconds: float, seed: int) -> FuzzReport:
    """Run it on a service of its own. Equal seeds send equal cases."""
    config = load_config(None, SETTINGS)
    report = FuzzReport()
    with tempfile.TemporaryDirectory(prefix="sojourn-fuzz-") as folder, Shards(Path(folder), config) as shards:
        shard, pid = shards.each[0], shards.each[0].pid
        with _Witness(shards, config) as witness:
            began_s = time.monotonic()
            for case in _cases(shard, np.random.default_rng(seed), report):
                report.cases = case
                if time.monotonic() > began_s + seconds or (case % LOOK_EVERY == 0 and _has_complaints(shard, report)):
                    break
            report.seconds = time.monotonic() - began_s
        _has_complaints(shard, report)
        if shard.pid == pid and shard.resident_bytes() > 0:
            report.complaints += witness.complaints()
    return report


def _cases(shard: ShardProcess, rng: np.random.Generator, report: FuzzReport) -> Iterator[int]:
    """Send one case after the other, for ever."""
    every = calls()
    latest: list[str] = []
    with grpc.insecure_channel(shard.address(), options=channel_options(MOST_BYTES >> 2)) as channel:
        lives: dict[str, int] = {}
        messages, case = Messages(rng, lives), 0
        _begin_lives(channel, lives, messages)
        while True:
            call = every[int(rng.integers(len(every)))]
            requests = [messages.request(call) for _ in range(int(rng.integers(1, 6)) if call.streams_in else 1)]
            status = _send(channel, call, requests)
            report.statuses[f"{call.name} {status}"] += 1
            latest = [*latest[-LATEST:], f"{call.name} {status} {requests[0][:60]!r}"]
            if status in ("UNKNOWN", "INTERNAL") and all(map(call.is_readable, requests)):
                report.complaints.append(f"case {case}: {latest[-1]}")
            if (status != "OK" and case % REFRESH_EVERY == 0) or call.name in ("Hello", "Retire"):
                _begin_lives(channel, lives, messages)
            case += 1
            yield case


def _begin_lives(channel: grpc.Channel, lives: dict[str, int], messages: Messages) -> None:
    """Real lives for the fuzzer's clients, which may do everything: a spoilt Hello has replaced one, or a spoilt stream broken it."""
    stub, schema = ReplayStub(channel), schema_of(HALF_CHEETAH).to_json()
    stub.Retire(pb.RetireRequest(retired=False), timeout=RENEW_S)
    for number in range(FUZZERS):
        hello = pb.HelloRequest(
            contract_version=CONTRACT_VERSION, role=pb.ROLE_OPERATOR, client_id=f"fuzz-{number}", schema_json=schema
        )
        lives[hello.client_id] = stub.Hello(hello, timeout=RENEW_S).incarnation
    messages.begin_again()


def _send(channel: grpc.Channel, call: Call, requests: list[bytes]) -> str:
    """Make the call with these bytes. Returns the name of the status with which it ended."""
    kind = ("stream" if call.streams_in else "unary") + "_" + ("stream" if call.streams_out else "unary")
    make = getattr(channel, kind)(call.path, request_serializer=bytes, response_deserializer=bytes)
    try:
        answered = make(iter(requests) if call.streams_in else requests[0], timeout=CALL_S)
        if call.streams_out:
            for number, _ in enumerate(answered):
                if number > MOST_REPLIES:
                    answered.cancel()
                    return "OK"
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


def _has_complaints(shard: ShardProcess, report: FuzzReport) -> bool:
    """Whether the service is dead, has grown beyond measure, or has logged an error that is not one of ours."""
    size = resident_bytes(shard.pid)
    if size == 0:
        report.complaints.append(f"the service has ended: {shard.last_words()}")
    if size > MOST_BYTES:
        report.complaints.append(f"the service has grown to {size >> 20} MiB")
    log = (shard.folder / "logs" / f"{shard.name}.log").read_text(errors="replace")
    found = [line for line in log.splitlines() if any(complaint in line for complaint in COMPLAINTS)]
    if found:
        report.complaints.append(f"the service logged: {log[log.index(found[0]) :][:3_000]}")
    return bool(report.complaints)


class _Witness:
    """An actor and a learner that want to be left alone."""

    def __init__(self, shards: Shards, config: Config) -> None:
        self._shards, self._config = shards, config
        self._ledger = Ledger(config.actors.environments, config.actors.segment_steps)
        target = Target(RUN_ID, config.actors, config.actors.outage_buffer_bytes, self._ledger, Acknowledgements())
        behaviour = Behaviour(mean_duration_s=0.002)
        address = shards.each[0].address
        self._fleet = SimulatedFleet(1, lambda index: address, target, behaviour, first=WITNESS)
        self._drawing = Drawing([address], config, pause_s=0.05)
        self._ends = ExitStack()

    def __enter__(self) -> "_Witness":
        self._ends.enter_context(self._drawing)
        self._ends.enter_context(self._fleet)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def complaints(self) -> list[str]:
        """What was done to it, read once it has ended."""
        held = held_by(self._shards.each, HALF_CHEETAH, self._config.learners.table)
        mine = [numbers[numbers >> ACTOR_BITS == WITNESS] for numbers in held.numbers]
        verdict = self._ledger.judge(mine, living=held.living)
        told = list(self._fleet.undrained)
        if self._drawing.fault is not None or self._drawing.batches == 0:
            told.append(f"the learner drew {self._drawing.batches} batches: {self._drawing.fault}")
        if not verdict.clean or verdict.acknowledged == 0 or verdict.refused or self._fleet.lives != 1:
            told.append(f"the actor, in {self._fleet.lives} lives: {verdict}")
        return [f"witness: {what}" for what in told]
