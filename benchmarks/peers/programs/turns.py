"""How is a peer's program told what to measure, and how does it answer? Lines of JSON: from its standard input, to a pipe of its own.

The pipe's number is its first argument; what libraries print is no answer. Of the programs beside this file, each runs in a virtual environment of its own. NumPy and the standard library only.
"""

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

QUICK = "--quick" in sys.argv
W1_STEPS, W2_STEPS = (20_000, 400) if QUICK else (1_000_000, 20_000)
STEP_BYTES = 101  # of a W1 step
W2_ITEM_BYTES = 2 * 84 * 84 * 4 + 17
SEQUENCE = 80
PACE = 101_000.0  # steps a second, at most, that are inserted beside sampling
MEGABYTE = 1e6


def serve(rows: Mapping[str, Callable[[float], Sequence[float]]]) -> None:
    """Measure what is asked for until nobody asks any more. A row is given the seconds of a turn, and gives its values."""
    with os.fdopen(int(sys.argv[1]), "w") as answers:
        print(json.dumps(list(rows)), file=answers, flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            print(json.dumps([float(value) for value in rows[order["row"]](order["seconds"])]), file=answers, flush=True)


def rate(once: Callable[[], int], seconds: float, most_per_s: float = float("inf")) -> float:
    """How many a second, where each call says how many it was."""
    began_s, count = time.monotonic(), 0
    while (elapsed_s := time.monotonic() - began_s) < seconds:
        count += once()
        time.sleep(max(0.0, began_s + count / most_per_s - time.monotonic()))
    return count / elapsed_s


def w1(steps: int) -> dict[str, np.ndarray]:
    """Steps of HalfCheetah's shapes, each with its next observation."""
    rng = np.random.default_rng(0)
    observation = rng.standard_normal((steps + 1, 17), np.float32)
    return {
        "observation": observation[:-1],
        "next_observation": observation[1:],
        "action": rng.uniform(-1.0, 1.0, (steps, 6)).astype(np.float32),
        "reward": rng.standard_normal(steps, np.float32),
        "terminated": np.zeros(steps, np.bool_),
        "duration_s": rng.lognormal(size=steps).astype(np.float32),
    }


def w2(steps: int) -> dict[str, np.ndarray]:
    """Steps with stacks of four frames, each with its next observation."""
    rng = np.random.default_rng(0)
    observation = rng.integers(0, 256, (steps + 1, 84, 84, 4), np.uint8)
    return {
        "observation": observation[:-1],
        "next_observation": observation[1:],
        "action": rng.integers(0, 6, steps),
        "reward": rng.standard_normal(steps, np.float32),
        "terminated": np.zeros(steps, np.bool_),
        "duration_s": rng.lognormal(size=steps).astype(np.float32),
    }
