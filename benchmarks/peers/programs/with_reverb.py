"""Reverb: its server, a client that inserts and one that samples, each in a process of its own. Nothing is kept on a disk.

Steps are stored once; an item is a step and its next observation, or a sequence, that refers to them.
"""

import multiprocessing
import time

import numpy as np
import reverb
import tensorflow as tf
from turns import MEGABYTE, PACE, SEQUENCE, STEP_BYTES, W1_STEPS, W2_ITEM_BYTES, W2_STEPS, rate, serve, w1, w2

READY_S = 120.0
COLUMNS = ("observation", "action", "reward", "terminated", "duration_s")
SIZES = {"w1": W1_STEPS, "w2": W2_STEPS, "w3": W1_STEPS // (SEQUENCE // 2)}
BATCHES = {"w1": 256, "w2": 64, "w3": 32}
MADE = {"w1": (w1, 1_000), "w2": (w2, 100), "w3": (w1, 1_000)}
FLUSH_EVERY = 64
CHUNKS = {"w3": SEQUENCE}  # steps; otherwise as Reverb chooses
WORKERS = {"w1": (-1, 256), "w2": (-1, 256), "w3": (1, 1_024)}
"""Streams of a sampler (-1: as it chooses) and items on their way: what was fastest of some that were tried, as were the chunks."""


def run_server(ports):
    """Serve all tables for ever. Runs in a process of its own."""
    server = reverb.Server([table(name) for name in SIZES])
    ports.send(server.port)
    server.wait()


def table(name):
    return reverb.Table(
        name,
        sampler=reverb.selectors.Prioritized(0.6),
        remover=reverb.selectors.Fifo(),
        max_size=SIZES[name],
        rate_limiter=reverb.rate_limiters.MinSize(1),
        signature=signature(name),
    )


def signature(name):
    """Shapes of an item: the observation has the next one with it."""
    columns = MADE[name][0](1)
    length = SEQUENCE if name == "w3" else 1

    def spec(column):
        steps = length + (column == "observation" and name != "w3")
        return tf.TensorSpec((steps, *columns[column].shape[1:]), tf.as_dtype(columns[column].dtype))

    return {column: spec(column) for column in COLUMNS}


def run_writer(address, orders):
    """Insert for as long as each order says, until there are no more. Runs in a process of its own."""
    writers = {}
    while True:
        try:
            name, seconds, most, most_per_s = orders.recv()
        except EOFError:
            return
        if name not in writers:
            writers[name] = Writer(reverb.Client(address), name)
        orders.send(writers[name].insert(seconds, most, most_per_s))


class Writer:
    """Steps of one table, over and over."""

    def __init__(self, client, name):
        make, self.block = MADE[name]
        self.columns = make(self.block)
        self.steps, self.name = 0, name
        self.length = SEQUENCE if name == "w3" else 1
        self.period = SEQUENCE // 2 if name == "w3" else 1
        self.writer = client.trajectory_writer(num_keep_alive_refs=self.length + 1)
        if name in CHUNKS:
            for column in COLUMNS:
                self.writer.configure((column,), num_keep_alive_refs=self.length + 1, max_chunk_length=CHUNKS[name])
        self.priorities = np.random.default_rng(0).exponential(size=self.block)

    def insert(self, seconds, most, most_per_s):
        """Steps that were inserted, and in how many seconds."""
        began_s, first = time.monotonic(), self.steps

        def once():
            for _ in range(FLUSH_EVERY):
                self.step()
            self.writer.flush(block_until_num_items=FLUSH_EVERY)
            return FLUSH_EVERY

        while self.steps - first < most and (left_s := began_s + seconds - time.monotonic()) > 0.0:
            rate(once, min(left_s, 0.1), most_per_s)
        self.writer.flush()
        return self.steps - first, time.monotonic() - began_s

    def step(self):
        place = self.steps % self.block
        self.writer.append({name: self.columns[name][place] for name in COLUMNS})
        self.steps += 1
        if self.steps > self.length and self.steps % self.period == 0:
            history = self.writer.history
            spans = {name: slice(-self.length - 1, -1) for name in COLUMNS}
            if self.name != "w3":
                spans["observation"] = slice(-2, None)
            item = {name: history[name][spans[name]] for name in COLUMNS}
            self.writer.create_item(self.name, float(self.priorities[place]), item)


class Reverb:
    """A server, a writing client and a sampler for each table, started when they are first needed."""

    def __init__(self):
        spawn = multiprocessing.get_context("spawn")
        port, theirs = spawn.Pipe()
        spawn.Process(target=run_server, args=(theirs,), daemon=True).start()
        self.address = f"localhost:{port.recv()}"
        self.client = reverb.Client(self.address)
        self.orders, theirs = spawn.Pipe()
        spawn.Process(target=run_writer, args=(self.address, theirs), daemon=True).start()
        self.samplers = {}
        self.rng = np.random.default_rng(0)

    def begin(self, name, seconds=1e9, most=1 << 60, most_per_s=float("inf")):
        self.orders.send((name, seconds, most, most_per_s))

    def inserted(self):
        steps, seconds = self.orders.recv()
        return steps / seconds

    def insert(self, seconds):
        self.fill("w1")
        self.begin("w1", seconds)
        return [self.inserted()]

    def fill(self, name):
        if name not in self.samplers:
            self.begin(name, most=(W2_STEPS if name == "w2" else W1_STEPS) + FLUSH_EVERY)
            self.inserted()
            workers, in_flight = WORKERS[name]
            dataset = reverb.TrajectoryDataset.from_table_signature(
                server_address=self.address,
                table=name,
                num_workers_per_iterator=workers,
                max_in_flight_samples_per_worker=in_flight,
            )
            self.samplers[name] = iter(dataset.batch(BATCHES[name]).prefetch(16).as_numpy_iterator())
            next(self.samplers[name])

    def sample(self, name, seconds):
        """Items a second."""
        self.fill(name)
        return rate(lambda: len(next(self.samplers[name]).info.key), seconds)

    def together(self, seconds):
        self.fill("w1")
        self.begin("w1", seconds, most_per_s=PACE)
        return [rate(self.sample_and_update, seconds), self.inserted()]

    def sample_and_update(self):
        keys = next(self.samplers["w1"]).info.key
        self.client.mutate_priorities("w1", updates=dict(zip(keys.tolist(), self.rng.random(len(keys)).tolist(), strict=True)))
        return len(keys)


def main():
    peer = Reverb()
    serve(
        {
            "w1-sample": lambda seconds: [peer.sample("w1", seconds)],
            "w1-insert": peer.insert,
            "w1-together": peer.together,
            "w2-sample": lambda seconds: [peer.sample("w2", seconds) * W2_ITEM_BYTES / MEGABYTE],
            "w3-sample": lambda seconds: [peer.sample("w3", seconds) * SEQUENCE * STEP_BYTES / MEGABYTE],
        }
    )


if __name__ == "__main__":
    main()
