"""Does it matter where actors run? Hosts whose clocks differ, and fleets that are spread over shards: weights stay what they were."""

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from sojourn.bench.lanes import Attempt, Choose, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.rows.windows import WINDOW_S, in_windows, slow_or_fast
from sojourn.bench.shares import take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import BEGIN_S, World

LANES = 16
SLOWER = 1.3
AHEAD_S = 3_600.0
DRIFT = 0.01
UNCAPPED = 1e6
SLOW, MARK = 0, 2
CONDITIONS = ("the same", "an hour ahead", "1 % too fast", "two shards")

Host = Callable[[float], float]


def host_of(condition: str) -> Host:
    """What the clock of the second fleet's host shows at a time of the service's clock."""
    ahead_s = AHEAD_S if condition == "an hour ahead" else 0.0
    rate = 1.0 + DRIFT * (condition == "1 % too fast")
    return lambda now_s: BEGIN_S + (now_s - BEGIN_S) * rate + ahead_s


def marked(choose: Choose, rng: np.random.Generator, lane: int, now_s: float) -> Attempt:
    """An action that is known by a random number."""
    attempt = choose(lane, now_s)
    return attempt._replace(labels=(*attempt.labels, rng.random()))


def measured(seed: int, windows: int, condition: str) -> np.ndarray:
    """Mark, slow label and weight by window of each item, float64[N, 3] in the order of the marks.

    Two fleets of one pool, the second slower; with two shards each has its own.
    """
    rng, shards = np.random.default_rng(seed), 1 + (condition == "two shards")
    settings = {"duration": {"rule": "window", "cap": UNCAPPED}}
    with World({"fifo": settings}, labels=("slow", "reward", "mark"), seed=0, shards=shards) as world:
        fleets = [
            Lanes(
                world,
                LANES,
                partial(marked, slow_or_fast(rng, slower), rng),
                name=f"fleet-{fleet}",
                shard=fleet % shards,
                host_s=host_of(condition if fleet else "the same"),
            )
            for fleet, slower in enumerate((1.0, SLOWER))
        ]
        in_windows(world, fleets, windows, WINDOW_S)
        size = min(world.info(shard).tables[0].facts.items for shard in range(shards))
        rows = []
        for batch in take(world.learner("fifo", size, ahead=shards), shards):  # whole batches of one shard each, in turn
            labels = batch.columns["observation"]
            rows.append(np.stack([labels[:, MARK], labels[:, SLOW], batch.loss_weight], axis=1))
    found = np.concatenate(rows)
    return found[np.argsort(found[:, 0])]


def places(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Largest relative changes of weights from those of one shard and one clock, and how far the slow share moves with a drift."""
    seed = int(rng.integers(1 << 31))
    windows = size.of(30, 3)  # of fewer starts than travel: beyond 4,096, tables are coarser by 0.3 %
    usual, *others = (measured(seed, windows, condition) for condition in CONDITIONS)
    changes = [relative_changes(usual, other) for other in others]
    found = {condition: float(change.max()) for condition, change in zip(CONDITIONS[1:], changes, strict=True)}
    moved = slow_share(others[1]) - slow_share(usual)
    found["1 % too fast: mean change"] = float(changes[1].mean())
    return {**found, "1 % too fast: slow share moves by under 1 %": float(abs(moved) < DRIFT)}


def relative_changes(usual: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the weights of the items that both have, each over its mean. float64[N] >= 0."""
    _, mine, theirs = np.intersect1d(usual[:, 0], other[:, 0], return_indices=True)
    one, two = usual[mine, 2], other[theirs, 2]
    changes: np.ndarray = np.abs(two / two.mean() / (one / one.mean()) - 1.0)
    return changes


def slow_share(found: np.ndarray) -> float:
    return float(found[:, 1] @ found[:, 2] / found[:, 2].sum())


ROWS = (
    Row(
        "places",
        "windows of 20, two fleets: relative differences of weights where a host's clock is ahead or drifts, and over two shards",
        (
            Claim("an hour ahead", 0.0, chance=False),
            Claim("two shards", 0.0, chance=False),
            Claim("1 % too fast: mean change"),
            Claim("1 % too fast: slow share moves by under 1 %", 1.0),
        ),
        places,
    ),
)
