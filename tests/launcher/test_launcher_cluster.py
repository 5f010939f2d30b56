"""Does the same run work on a Ray cluster, its actors and learner on another node than its services?

Two nodes on this machine, at two loopback addresses. The launcher's node has no CPUs to give, so clients must go to the other.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from sojourn.errors import UnavailableError
from sojourn.roles import announced
from tests.waiting import eventually

DEADLINE_S = 90.0
LAUNCHERS_NODE, OTHER_NODE = "127.0.0.2", "127.0.0.3"

CLUSTER = """
import sys
from ray.cluster_utils import Cluster
head = {"node_ip_address": "127.0.0.2", "num_cpus": 0, "temp_dir": sys.argv[1], "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args={**head, "object_store_memory": 80_000_000})
cluster.add_node(node_ip_address="127.0.0.3", num_cpus=4, object_store_memory=80_000_000)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
DRIVER = """
import sys
from pathlib import Path
from sojourn.config.load import load_config
from sojourn.launcher import train
address, folder, *overrides = sys.argv[1:]
sys.exit(train(load_config(None, overrides), Path(folder), run_id="run", address=address))
"""
ROLES = ("replay-0", "parameters-0", "learner-0", "actor-0", "evaluator-0")
SMALL = [
    "network.hidden=[16]",
    "learners.batch_size=32",
    "tables.replay.capacity_steps=20_000",
    "tables.replay.limiter.min_size=100",
    "tables.replay.limiter.samples_per_insert=8",
    "evaluation.episodes=1",
]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """Environment of a cluster on loopback, with a temporary folder of its own."""
    temporary = Path(tempfile.mkdtemp(prefix="sj-", dir="/tmp"))  # short: Ray's sockets lie below it
    (temporary / "ray").mkdir()  # Ray notes a cluster's address there
    several_nodes = {"RAY_AUTH_MODE": "disabled", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    yield {**os.environ, **several_nodes, "TMPDIR": str(temporary)}
    shutil.rmtree(temporary)


@pytest.fixture
def cluster(environment: dict[str, str]) -> Iterator[str]:
    """Address of a cluster of two nodes."""
    command = [sys.executable, "-c", CLUSTER, environment["TMPDIR"]]
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    ours = psutil.Process(process.pid).children(recursive=True)
    process.communicate("", timeout=DEADLINE_S)
    for each in psutil.wait_procs(ours, timeout=2.0)[1]:
        each.kill()


def hosts(folder: Path) -> dict[str, str]:
    """Host of each role that has announced an endpoint."""
    found = {}
    for name in ROLES:
        try:
            found[name] = announced(folder, name).metrics.rpartition(":")[0]
        except UnavailableError:
            continue
    return found


def test_services_stay_with_the_launcher_and_clients_find_them_from_another_node(
    cluster: str, environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-c", DRIVER, cluster, str(tmp_path / "run"), *SMALL]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen: dict[str, str] = {}

    def all_were_seen() -> bool:
        seen.update(hosts(tmp_path / "run"))
        return process.poll() is not None or (len(seen) == len(ROLES) and (tmp_path / "run" / "evaluations.jsonl").exists())

    eventually(all_were_seen, DEADLINE_S, look_s=0.1, tell=lambda: seen)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, said) == (0, "")
    services = {name: seen.get(name) for name in ("replay-0", "parameters-0", "evaluator-0")}
    clients = {name: seen.get(name) for name in ("learner-0", "actor-0")}
    assert set(services.values()) == {LAUNCHERS_NODE}, seen
    assert set(clients.values()) == {OTHER_NODE}, seen
