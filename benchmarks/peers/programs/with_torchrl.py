"""TorchRL's prioritised buffer, inside the learner's own process."""

import os
import sys

import torch

# TorchRL 0.14 is built for a later torch; what torch 2.13 lacks of it, its priority tree never calls.
sys.setdlopenflags(os.RTLD_LAZY)

from tensordict import TensorDict  # noqa: E402
from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer, TensorDictReplayBuffer  # noqa: E402
from torchrl.data.replay_buffers.samplers import PrioritizedSliceSampler  # noqa: E402
from turns import MEGABYTE, SEQUENCE, STEP_BYTES, W1_STEPS, W2_ITEM_BYTES, W2_STEPS, rate, serve, w1, w2  # noqa: E402

BLOCK = 64


def dictionary(columns, episode=0):
    """The columns as TorchRL names them."""
    tensors = {name: torch.from_numpy(column.copy()) for name, column in columns.items()}
    steps = len(tensors["reward"])
    following = {"observation": tensors.pop("next_observation"), "reward": tensors.pop("reward")[:, None]}
    following["done"] = following["terminated"] = tensors.pop("terminated")[:, None]
    tensors["episode"] = torch.full((steps,), episode)
    return TensorDict({**tensors, "next": following}, batch_size=[steps])


def filled(kind, steps, block, batch_size):
    """A prioritised buffer of so many steps, full."""
    buffer = TensorDictPrioritizedReplayBuffer(
        alpha=0.6, beta=0.4, storage=LazyTensorStorage(steps), batch_size=batch_size, priority_key="td_error"
    )
    return extended(buffer, kind, steps, block)


def sequences(steps, block, batch):
    """One that gives sequences of steps of one episode."""
    sampler = PrioritizedSliceSampler(
        max_capacity=steps, alpha=0.6, beta=0.4, slice_len=SEQUENCE, traj_key="episode", cache_values=True
    )
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(steps), sampler=sampler, batch_size=batch * SEQUENCE)
    return extended(buffer, w1, steps, block)


def extended(buffer, kind, steps, block):
    columns = kind(block)
    for episode in range(steps // block):
        buffer.extend(dictionary(columns, episode))
    return buffer


def main():
    make = {
        "w1": lambda: filled(w1, W1_STEPS, 10_000, 256),
        "w2": lambda: filled(w2, W2_STEPS, 100, 64),
        "w3": lambda: sequences(W1_STEPS, 1_000, 32),
    }
    tables = {}

    def table(name):
        if name not in tables:
            tables[name] = make[name]()
        return tables[name]

    block = dictionary(w1(BLOCK))

    def insert():
        table("w1").extend(block.clone())
        return BLOCK

    def sampling(name, seconds):
        table(name)
        return rate(lambda: len(table(name).sample()), seconds)

    torch.set_num_threads(1)
    serve(
        {
            "w1-sample": lambda seconds: [sampling("w1", seconds)],
            "w1-insert": lambda seconds: [rate(insert, seconds)],
            "w2-sample": lambda seconds: [sampling("w2", seconds) * W2_ITEM_BYTES / MEGABYTE],
            "w3-sample": lambda seconds: [sampling("w3", seconds) * STEP_BYTES / MEGABYTE],
        }
    )


if __name__ == "__main__":
    main()
