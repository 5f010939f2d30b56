"""cpprb, a replay buffer in C++, inside the learner's own process: nothing travels, nothing is kept."""

import numpy as np
from cpprb import PrioritizedReplayBuffer
from turns import MEGABYTE, W1_STEPS, W2_ITEM_BYTES, W2_STEPS, rate, serve, w1, w2

BLOCK = 64
RNG = np.random.default_rng(0)


def filled(kind, steps, block):
    """A prioritised buffer of so many steps, full."""
    made = kind(block)
    shapes = {name: {"shape": column.shape[1:] or 1, "dtype": column.dtype} for name, column in made.items()}
    buffer = PrioritizedReplayBuffer(steps, shapes, alpha=0.6)
    while buffer.get_stored_size() < steps:
        buffer.add(**made, priorities=RNG.exponential(size=block))
    return buffer


def main():
    tables = {}

    def table(name):
        if name not in tables:
            tables[name] = filled(w1, W1_STEPS, 10_000) if name == "w1" else filled(w2, W2_STEPS, 100)
        return tables[name]

    block = w1(BLOCK)

    def insert():
        table("w1").add(**block)
        return BLOCK

    serve(
        {
            "w1-sample": lambda seconds: [rate(sampling(table("w1"), 256), seconds)],
            "w1-insert": lambda seconds: [rate(insert, seconds)],
            "w2-sample": lambda seconds: [rate(sampling(table("w2"), 64), seconds) * W2_ITEM_BYTES / MEGABYTE],
        }
    )


def sampling(buffer, size):
    return lambda: len(buffer.sample(size, beta=0.4)["reward"])


if __name__ == "__main__":
    main()
