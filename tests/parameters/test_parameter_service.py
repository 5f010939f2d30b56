"""Is every publication durable and monotone before it is answered, and does each watcher get the newest one?"""

import asyncio
import hashlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from protos import parameters_pb2 as pb
from protos import parameters_pb2_grpc as rpc_parameters
from sojourn.errors import CheckpointError, ContractError, DeadlineError, UnavailableError
from sojourn.experience import ParameterSnapshot
from sojourn.metrics import Metrics
from sojourn.parameters import connection
from sojourn.parameters.client import Publisher, Watcher, latest_version
from sojourn.parameters.durable import DurableLatest
from sojourn.parameters.service import ParameterServer
from sojourn.rpc import CHUNK_BYTES
from tests.waiting import DEADLINE_S, eventually


class Service:
    """A parameter service on a thread of its own, which can be stopped and started again over one folder."""

    def __init__(self, folder: Path, run_id: str = "run") -> None:
        self.folder, self.run_id = folder, run_id
        self.target = ""
        self.start()

    def start(self) -> None:
        self.metrics = Metrics("parameters")
        self._started, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self._started.wait(DEADLINE_S)

    async def _serve(self) -> None:
        server = ParameterServer(self.folder, self.run_id, self.metrics)
        self.target = f"127.0.0.1:{await server.start('127.0.0.1:0')}"
        self._started.set()
        await asyncio.to_thread(self._stop.wait)
        await server.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def address(self) -> str:
        return self.target

    def series(self, name: str) -> float:
        return self.metrics.registry.get_sample_value(name) or 0.0


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    running = Service(tmp_path / "parameters")
    yield running
    running.stop()


@pytest.fixture
def publisher(service: Service) -> Iterator[Publisher]:
    made = Publisher(service.address, run_id="run", client_id="learner-0")
    yield made
    made.close()


@pytest.fixture
def watcher(service: Service) -> Iterator[Watcher]:
    made = Watcher(service.address, run_id="run", client_id="actor-0")
    yield made
    made.close()


def snapshot(learner_step: int, size: int = 1000) -> ParameterSnapshot:
    tensors = bytes([learner_step % 256]) * size
    return ParameterSnapshot(0, learner_step, 10 * learner_step, "sac", tensors, time.monotonic())


def test_a_watcher_gets_what_was_published_with_its_place_in_the_run(publisher: Publisher, watcher: Watcher) -> None:
    publisher.publish(snapshot(7, size=3 * CHUNK_BYTES + 5))
    assert publisher.flush(DEADLINE_S) == 1
    got = watcher.wait(0, DEADLINE_S)
    assert got is not None
    assert (got.policy_version, got.learner_step, got.env_steps, got.algorithm) == (1, 7, 70, "sac")
    assert got.tensors == snapshot(7, size=3 * CHUNK_BYTES + 5).tensors
    assert 0 <= time.monotonic() - got.published_at_s < DEADLINE_S


def test_versions_go_on_after_a_restart_and_watchers_follow(service: Service, publisher: Publisher, watcher: Watcher) -> None:
    publisher.publish(snapshot(1))
    publisher.flush(DEADLINE_S)
    assert watcher.wait(0, DEADLINE_S) is not None
    service.stop()
    service.start()  # at another port
    publisher.publish(snapshot(2))
    assert publisher.flush(DEADLINE_S) == 2
    got = watcher.wait(1, DEADLINE_S)
    assert got is not None
    assert (got.policy_version, got.learner_step) == (2, 2)


def test_a_restarted_service_hands_out_the_latest_publication(service: Service, publisher: Publisher) -> None:
    publisher.publish(snapshot(5))
    publisher.flush(DEADLINE_S)
    service.stop()
    service.start()
    late = Watcher(service.address, run_id="run", client_id="actor-1")
    got = late.wait(0, DEADLINE_S)
    late.close()
    assert got is not None
    assert (got.policy_version, got.learner_step) == (1, 5)


def test_of_many_publications_the_newest_arrives_and_none_waits_in_a_queue(
    service: Service, publisher: Publisher, watcher: Watcher
) -> None:
    for step in range(1, 501):
        publisher.publish(snapshot(step))
    version = publisher.flush(DEADLINE_S)
    assert version + publisher.replaced == 500
    got = watcher.wait(version - 1, DEADLINE_S)
    assert got is not None
    assert got.learner_step == 500
    eventually(lambda: service.series("sojourn_parameters_sent_versions_total") > 0)
    sent = service.series("sojourn_parameters_sent_versions_total")
    assert sent + service.series("sojourn_parameters_skipped_versions_total") <= version


def test_a_watcher_that_never_reads_delays_nobody(service: Service, publisher: Publisher, watcher: Watcher) -> None:
    with grpc.insecure_channel(service.target) as channel:
        silent = rpc_parameters.ParametersStub(channel).Watch(pb.WatchRequest(client_id="silent"))  # never iterated
        eventually(lambda: service.series("sojourn_parameters_watchers") == 2)
        for step in range(1, 31):
            publisher.publish(snapshot(step, size=4 * CHUNK_BYTES))
            version = publisher.flush(DEADLINE_S)
            got = watcher.wait(version - 1, DEADLINE_S)
            assert got is not None
            assert got.learner_step == step
        # The silent one holds the transport's window, far less than the 120 MiB that were published.
        assert service.series("sojourn_parameters_sent_versions_total") <= 30 + 2
        silent.cancel()


def test_a_watcher_of_another_run_is_refused_for_good(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REFUSED_FOR_S", 0.2)
    stranger = Watcher(service.address, run_id="another", client_id="actor-9")
    with pytest.raises(ContractError, match="run 'run', not of run 'another'"):
        stranger.wait(0, DEADLINE_S)
    stranger.close()


def test_a_publisher_of_another_run_is_refused_for_good(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "REFUSED_FOR_S", 0.2)
    stranger = Publisher(service.address, run_id="another", client_id="learner-9")
    stranger.publish(snapshot(1))
    with pytest.raises(ContractError, match="not of run 'another'"):
        stranger.flush(DEADLINE_S)
    stranger.close()
    assert latest_version(service.address, DEADLINE_S) == 0


def test_flush_says_when_the_service_does_not_answer() -> None:
    def nowhere() -> str:
        raise UnavailableError("parameters-0 has not started")

    lonely = Publisher(nowhere, run_id="run", client_id="learner-0")
    lonely.publish(snapshot(1))
    with pytest.raises(DeadlineError, match=r"within 0\.2 s"):
        lonely.flush(0.2)
    lonely.close()


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([], "nothing came"),
        ([pb.PublishRequest(chunk=b"x")], "one manifest, then its chunks"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=0))], "the manifest says 0"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=1 << 40))], "the manifest says 1099511627776"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=1, age_s=float("inf")))], "the manifest says inf"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=1, age_s=float("nan")))], "the manifest says nan"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=2)), pb.PublishRequest(chunk=b"x")], "1 bytes short of 2"),
        ([pb.PublishRequest(manifest=pb.Manifest(total_bytes=1)), pb.PublishRequest(chunk=b"xy")], "at most 1 were expected"),
        (
            [
                pb.PublishRequest(manifest=pb.Manifest(total_bytes=1, sha256=hashlib.sha256(b"y").digest())),
                pb.PublishRequest(chunk=b"x"),
            ],
            "checksum of 1 bytes",
        ),
    ],
)
def test_a_publication_that_is_not_whole_is_refused_and_nothing_changes(
    service: Service, parts: list[pb.PublishRequest], sentence: str
) -> None:
    with grpc.insecure_channel(service.target) as channel, pytest.raises(grpc.RpcError) as caught:
        rpc_parameters.ParametersStub(channel).Publish(iter(parts), timeout=DEADLINE_S)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert sentence in caught.value.details()
    assert latest_version(service.address, DEADLINE_S) == 0


def test_an_older_contract_is_refused(service: Service) -> None:
    with grpc.insecure_channel(service.target) as channel, pytest.raises(grpc.RpcError) as caught:
        next(rpc_parameters.ParametersStub(channel).Watch(pb.WatchRequest(contract_version=99), timeout=DEADLINE_S))
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "contract 99" in caught.value.details()


def test_health_says_serving(service: Service) -> None:
    with grpc.insecure_channel(service.target) as channel:
        asked = health_pb2.HealthCheckRequest(service="sojourn.v1.Parameters")
        reply = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=DEADLINE_S)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


def test_a_taken_port_is_named(service: Service, tmp_path: Path) -> None:
    async def listen_twice() -> None:
        second = ParameterServer(tmp_path / "second", "run", Metrics("parameters"))
        await second.start(service.target)

    with pytest.raises(UnavailableError, match=f"cannot listen at {service.target}"):
        asyncio.run(listen_twice())


def store(durable: DurableLatest, learner_step: int) -> int:
    made = snapshot(learner_step)
    return durable.store(made, hashlib.sha256(made.tensors).digest()).snapshot.policy_version


def test_a_corrupt_file_falls_back_to_the_previous_one_and_versions_still_rise(tmp_path: Path) -> None:
    first = DurableLatest(tmp_path, "run")
    assert [store(first, step) for step in (1, 2, 3)] == [1, 2, 3]
    content = bytearray((tmp_path / "latest").read_bytes())
    content[-1] ^= 1
    (tmp_path / "latest").write_bytes(content)
    second = DurableLatest(tmp_path, "run")
    assert second.latest is not None
    assert second.latest.snapshot.policy_version == 2
    assert store(second, 4) > 3
    third = DurableLatest(tmp_path, "run")
    assert third.latest is not None
    assert third.latest.snapshot.learner_step == 4


def test_a_torn_file_and_no_previous_one_still_leave_versions_monotone(tmp_path: Path) -> None:
    store(DurableLatest(tmp_path, "run"), 1)
    (tmp_path / "latest").write_bytes((tmp_path / "latest").read_bytes()[:40])
    after = DurableLatest(tmp_path, "run")
    assert after.latest is None
    assert store(after, 2) > 1


def test_a_folder_whose_versions_cannot_be_known_is_refused(tmp_path: Path) -> None:
    store(DurableLatest(tmp_path, "run"), 1)
    (tmp_path / "latest").write_bytes(b"torn")
    (tmp_path / "reserved").write_bytes(b"")
    with pytest.raises(CheckpointError, match="restore one of them"):
        DurableLatest(tmp_path, "run")


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    store(DurableLatest(tmp_path, "run"), 1)
    with pytest.raises(ContractError, match="belongs to run 'run'"):
        DurableLatest(tmp_path, "another")


def test_a_full_disk_is_reported_and_its_number_is_not_given_twice(tmp_path: Path) -> None:
    durable = DurableLatest(tmp_path / "parameters", "run")
    assert store(durable, 1) == 1
    (tmp_path / "parameters").rename(tmp_path / "away")  # as good as a disk that refuses
    with pytest.raises(UnavailableError, match="cannot keep policy version 2"):
        store(durable, 2)
    (tmp_path / "away").rename(tmp_path / "parameters")
    assert store(durable, 3) == 3
