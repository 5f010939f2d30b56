"""Does a process that talks gRPC start others without a word?"""

import subprocess
import sys

STARTS_ANOTHER = """
import os
from concurrent.futures import ThreadPoolExecutor
import sojourn.rpc
import grpc
server = grpc.server(ThreadPoolExecutor(2))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    grpc.channel_ready_future(channel).result(60)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
server.stop(None).wait()
"""


def test_a_fork_beside_grpc_prints_nothing():
    ended = subprocess.run([sys.executable, "-c", STARTS_ANOTHER], capture_output=True, text=True, timeout=100, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
