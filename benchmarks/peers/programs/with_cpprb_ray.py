"""cpprb behind a Ray actor: the usual way to share a buffer between processes. Calls are kept in flight, so that nobody waits for one."""

import time
from collections import deque

import numpy as np
import ray
from turns import MEGABYTE, PACE, W1_STEPS, W2_ITEM_BYTES, W2_STEPS, rate, serve, w1, w2
from with_cpprb import filled

BLOCK = 64
IN_FLIGHT = 16


@ray.remote(num_cpus=0)
class Replay:
    """A full buffer."""

    def __init__(self, name):
        self.buffer = filled(w1, W1_STEPS, 10_000) if name == "w1" else filled(w2, W2_STEPS, 100)

    def ready(self):
        return True

    def add(self, block):
        self.buffer.add(**block)

    def sample(self, size):
        return self.buffer.sample(size, beta=0.4)

    def update(self, indexes, priorities):
        self.buffer.update_priorities(indexes, priorities)


class Inserting:
    """Blocks of 64 steps, as many on their way as may be."""

    def __init__(self, replay):
        self.replay, self.block, self.calls = replay, w1(BLOCK), deque()

    def insert(self):
        self.calls.append(self.replay.add.remote(self.block))
        if len(self.calls) > IN_FLIGHT:
            ray.get(self.calls.popleft())
        return BLOCK

    def rate(self, seconds, most_per_s=float("inf")):
        began_s = time.monotonic()
        inserted = seconds * rate(self.insert, seconds, most_per_s)
        ray.get(list(self.calls))
        self.calls.clear()
        return inserted / (time.monotonic() - began_s)


class Sampling:
    """Batches, as many asked for ahead as may be."""

    def __init__(self, replay, size):
        self.replay, self.size, self.calls = replay, size, deque()
        self.rng = np.random.default_rng(0)

    def sample(self):
        while len(self.calls) < IN_FLIGHT:
            self.calls.append(self.replay.sample.remote(self.size))
        return ray.get(self.calls.popleft())

    def take(self):
        return len(self.sample()["reward"])

    def take_and_update(self):
        batch = self.sample()
        self.replay.update.remote(batch["indexes"], self.rng.random(len(batch["indexes"])))
        return len(batch["indexes"])


def main():
    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", object_store_memory=1 << 30)
    replays = {}

    def replay(name):
        if name not in replays:
            replays[name] = Replay.remote(name)
            ray.get(replays[name].ready.remote())
        return replays[name]

    writers = {}

    def together(seconds):
        if not writers:
            writers["w1"] = ray.remote(num_cpus=0)(Inserting).remote(replay("w1"))
            ray.get(writers["w1"].rate.remote(0.1))
        inserted = writers["w1"].rate.remote(seconds, PACE)
        sampled = rate(Sampling(replay("w1"), 256).take_and_update, seconds)
        return [sampled, ray.get(inserted)]

    serve(
        {
            "w1-sample": lambda seconds: [rate(Sampling(replay("w1"), 256).take, seconds)],
            "w1-insert": lambda seconds: [Inserting(replay("w1")).rate(seconds)],
            "w1-together": together,
            "w2-sample": lambda seconds: [rate(Sampling(replay("w2"), 64).take, seconds) * W2_ITEM_BYTES / MEGABYTE],
        }
    )


if __name__ == "__main__":
    main()
