"""What do the normaliser of weights and the way of applying them do to a gradient? Its mean and its variance.

The samples are those of a time share, q ~ pi/d, each of its own chance; they come as long segments of one lane.
"""

from collections.abc import Mapping
from math import comb

import numpy as np

from replay.client import ActorConnection
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import take, take_now
from sojourn.bench.verdict import Claim
from sojourn.bench.world import DEADLINE_S, World
from sojourn.experience import Batch, EndKind, Segment

FAST_S, SLOW_S = 1.0, 20.0
P_SLOW = 0.2
Q_SLOW = (P_SLOW / SLOW_S) / (P_SLOW / SLOW_S + (1 - P_SLOW) / FAST_S)
TERM_FAST, TERM_SLOW = -0.01 * -0.2, 0.04 * 0.8  # advantage times score of the slow action's logit
TRUTH = (1 - P_SLOW) * TERM_FAST + P_SLOW * TERM_SLOW
BATCHES = {4: 1_500, 32: 800, 128: 950}  # of each size in the reduced row
WARM_UP = 200  # batches, two memories of the running mean
UNCAPPED = 1e6
SEGMENT_STEPS = 20_000

RING_RATIO = 20.0
DRAW_BATCH = 128
VARIANCE_RATIO = (0.5 + 0.5 * RING_RATIO) * (0.5 + 0.5 / RING_RATIO)


def segment(slow: np.ndarray, value: np.ndarray, slow_s: float, first: int, episode: int) -> Segment:
    """An episode of one lane. slow: bool[T].  value: float64[T], its second label.  first: its first sequence number."""
    steps = len(slow)
    duration_s = np.where(slow, slow_s, FAST_S)
    labels = np.stack([slow.astype(np.float64), value], axis=1)
    truncated = np.zeros(steps, np.bool_)
    truncated[-1] = True
    return Segment(
        lane=0,
        first_sequence=first,
        episode=episode,
        observation={"observation": np.concatenate([labels, labels[-1:]])},
        action={"action": np.zeros((steps, 1), np.float32)},
        reward=value.astype(np.float32),
        terminated=np.zeros(steps, np.bool_),
        truncated=truncated,
        duration_s=duration_s,
        started_at_s=np.cumsum(duration_s) - duration_s,
        end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
        log_prob=np.zeros(steps, np.float32),
        policy_version=np.zeros(steps, np.int64),
        closed=True,
    )


def insert(world: World, actor: ActorConnection, slow: np.ndarray, value: np.ndarray, slow_s: float) -> None:
    """Send steps as segments, on a clock that has passed all their ends."""
    world.clock.now_s += len(slow) * slow_s
    for episode, start in enumerate(range(0, len(slow), SEGMENT_STEPS)):
        part = slice(start, start + SEGMENT_STEPS)
        actor.insert(segment(slow[part], value[part], slow_s, start + episode, episode))
        actor.flush()
    actor.drain(DEADLINE_S)


def batch_mean_gradient(batch_size: int) -> float:
    """E[gradient] / truth where weights are divided by their batch's own mean: the sum over the slow samples of a batch."""
    slow = np.arange(batch_size + 1)
    chance = np.array([comb(batch_size, k) * Q_SLOW**k * (1 - Q_SLOW) ** (batch_size - k) for k in slow.tolist()])
    terms = slow * SLOW_S * TERM_SLOW + (batch_size - slow) * FAST_S * TERM_FAST
    return float(chance @ (terms / (slow * SLOW_S + (batch_size - slow) * FAST_S)) / TRUTH)


def normaliser(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Mean gradient over the truth with the running mean of Sojourn, and with each batch's own mean, by batch size."""
    batches = {items: WARM_UP + size.of(4, 1) * count for items, count in BATCHES.items()}
    steps = max(items * count for items, count in batches.items())
    tables = {f"b{items}": {"duration": {"weight": "linear", "cap": UNCAPPED}, "capacity_steps": steps + 64} for items in batches}
    found: dict[str, float] = {}
    with World(tables, labels=("slow", "value"), seed=0) as world:
        actor = world.actor()
        slow = rng.random(steps) < Q_SLOW
        insert(world, actor, slow, np.where(slow, TERM_SLOW, TERM_FAST), SLOW_S)
        for items, count in batches.items():
            gradients = np.array([_gradients(batch) for batch in take(world.learner(f"b{items}", items), count)])
            running, own = gradients[WARM_UP:].mean(0) / TRUTH
            found |= {f"running mean, B = {items}": float(running), f"batch mean, B = {items}": float(own)}
    return found


def _gradients(batch: Batch) -> tuple[float, float]:
    """Of one batch: with its loss weights, and with durations over their batch mean."""
    terms = batch.columns["observation"][:, 1]
    duration_s = batch.info.duration_s
    return float((batch.loss_weight * terms).mean()), float((duration_s * terms).mean() / duration_s.mean())


def draws(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Variance of batch means where the weight multiplies the loss, over that where it drives the draw."""
    steps = size.of(200_000, 60_000)  # a batch's draws are stratified, which tells in small rings: 3 % at 20,000
    ring = {"sampler": "uniform", "consume": False, "capacity_steps": steps + 64}
    tables = {way: {**ring, "duration": {"weight": "linear", "apply": way}} for way in ("weight", "draw")}
    with World(tables, labels=("slow", "value"), seed=int(rng.integers(1 << 31))) as world:
        slow = rng.random(steps) < 1.0 / (1.0 + RING_RATIO)
        insert(world, world.actor(), slow, rng.standard_normal(steps), RING_RATIO)
        variance = {}
        for table in tables:
            batches = take_now(world, table, DRAW_BATCH, size.of(5_000, 500))
            variance[table] = np.var([(batch.loss_weight * batch.columns["observation"][:, 1]).mean() for batch in batches])
    return {"variance ratio": float(variance["weight"] / variance["draw"])}


ROWS = (
    Row(
        "normaliser",
        "pi = .8/.2, d = 1/20, q ~ pi/d: mean gradient over the truth, by normaliser and batch size",
        tuple(
            claim
            for items in BATCHES
            for claim in (
                Claim(f"batch mean, B = {items}", batch_mean_gradient(items), 1.0),
                Claim(f"running mean, B = {items}", 1.0, batch_mean_gradient(items)),
            )
        ),
        normaliser,
    ),
    Row(
        "draws",
        "pi = .5/.5, d = 1/20, q ~ pi/d, batches of 128: variance with weights over variance with draws in proportion to the duration",
        (Claim("variance ratio", VARIANCE_RATIO, 1.0),),
        draws,
    ),
)
