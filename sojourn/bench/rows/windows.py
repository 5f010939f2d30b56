"""Collection in windows: what is unfinished at the end of one is lost. The exact weight is one over the chance to fit.

Exact values are integrals over the start rate u(s) of a lane, which begins at the start of its window: an action of length D that begins
at s is kept if D <= W - s. u is computed on a grid of times, by the renewal equation.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import erf, exp, log, sqrt

import numpy as np

from sojourn.bench.lanes import Attempt, Lanes
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import Averages, take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import BEGIN_S, World

FAST_S, SLOW_S = 1.0, 10.0
SPREAD = 0.25  # of the logarithm of durations
REWARDS = (0.62, 0.67)
LANES = 64
BATCH = 64
STEP_S = 0.01  # of the grid

WINDOW_S = 20.0
CLASS_WINDOW_S = 50.0
SLOWER = 3.0  # actors of the slow class take so many times as long
EPISODE_WINDOW_S = 60.0
EPISODE_STEPS = 3


def length(rng: np.random.Generator, mean_s: float) -> float:
    """Lognormal with this mean."""
    return mean_s * exp(SPREAD * rng.standard_normal() - SPREAD**2 / 2)


def fits(mean_s: float, within_s: np.ndarray, moment: int = 0) -> np.ndarray:
    """E[D^moment; D <= within] of a lognormal duration, float64[N], moment 0 or 1."""
    middle = log(mean_s) - SPREAD**2 / 2 + moment * SPREAD**2
    z = (np.log(np.maximum(within_s, 1e-300)) - middle) / SPREAD
    return np.array([0.5 * (1.0 + erf(x / sqrt(2.0))) for x in z]) * mean_s**moment


@lru_cache(maxsize=8)
def start_rate(window_s: float, slower: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Times float64[N] in a window and the expected starts of a lane at each float64[N]: one at 0, then as actions end."""
    ends = np.arange(0.0, window_s + STEP_S / 2, STEP_S)
    means = [slower * FAST_S, slower * SLOW_S]
    law = np.mean([np.diff(fits(mean_s, ends + STEP_S / 2), prepend=0.0) for mean_s in means], axis=0)
    starts = np.zeros(len(ends))
    starts[0] = 1.0
    for at in range(1, len(ends)):
        starts[at] = starts[:at] @ law[at:0:-1]
    return ends, starts


def kept(window_s: float, mean_s: float, slower: float = 1.0, moment: int = 0) -> float:
    """E[sum of D^moment] over the kept actions of this mean that a lane starts in a window, were all its actions such."""
    times, starts = start_rate(window_s, slower)
    return float(starts @ fits(mean_s, window_s - times, moment))


def share(fast: float, slow: float) -> float:
    return slow / (fast + slow)


def reward(slow_share: float) -> float:
    return REWARDS[0] + (REWARDS[1] - REWARDS[0]) * slow_share


def in_windows(world: World, fleets: Sequence[Lanes], windows: int, window_s: float) -> None:
    """Run cold windows one after another; what ends in time is delivered at the end of its window.

    Each window waits until the service has heard what the one before cut: ages are of the moment at which it hears them.
    """
    for _ in range(windows):
        end_s = world.clock.now_s + window_s
        for lanes in fleets:
            lanes.start_all(end_s - window_s)
        for lanes in fleets:
            lanes.go_on_until(end_s)
            lanes.cut_all()
            lanes.deliver()
            lanes.settle()
        for lanes in {lanes.shard: lanes for lanes in fleets}.values():
            lanes.end_window()  # the fleets are one pool
    world.clock.now_s += window_s  # summaries of the start log are made anew after a while


def averaged(world: World, table: str, *, skip: int = 0, batch_size: int = BATCH) -> Averages:
    """All whole batches of a table behind the first `skip`."""
    averages, batches = Averages(), world.items(table) // batch_size  # counted before a learner is lent some
    for number, batch in enumerate(take(world.learner(table, batch_size), batches)):
        if number >= skip:
            averages.add(batch)
    return averages


def slow_or_fast(rng: np.random.Generator, slower: float = 1.0) -> Callable[[int, float], Attempt]:
    def choose(lane: int, now_s: float) -> Attempt:
        slow = rng.random() < 0.5
        return Attempt(length(rng, slower * (SLOW_S if slow else FAST_S)), (float(slow), REWARDS[slow]))

    return choose


def window(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Slow share and mean reward by weight."""
    tables = {weight: {"duration": {"weight": weight, "rule": "window"}} for weight in ("none", "linear", "inclusion")}
    with World(tables, labels=("slow", "reward"), seed=0) as world:
        in_windows(world, [Lanes(world, LANES, slow_or_fast(rng))], size.of(200, 6), WINDOW_S)
        found = {weight: averaged(world, weight) for weight in tables}
    return {"slow share raw": found["none"].of(0)} | {f"E[R] {weight}": averages.of(1) for weight, averages in found.items()}


def classes(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Slow share where half the actors are slower, of the same actions: with one curve for all, and with one a speed class."""
    found, seed = {}, int(rng.integers(1 << 31))
    for name, speed_classes in (("pooled", ("", "")), ("per class", ("quick", "slow"))):
        actions = np.random.default_rng(seed)
        with World({"fifo": {"duration": {"rule": "window"}}}, labels=("slow", "reward"), seed=0) as world:
            fleets = [
                Lanes(world, LANES // 2, slow_or_fast(actions, slower), name=f"actor-{slower:g}", speed_class=speed_class)
                for slower, speed_class in zip((1.0, SLOWER), speed_classes, strict=True)
            ]
            in_windows(world, fleets, size.of(100, 8), CLASS_WINDOW_S)
            found[name] = averaged(world, "fifo").of(0)
    return {**found, "pooled - per class": found["pooled"] - found["per class"]}


def class_shares() -> tuple[float, float]:
    """Exact slow shares with one curve for all and with one a class."""
    weighted = np.zeros((2, 2))  # by way of weighting, and by action
    times, quick = start_rate(CLASS_WINDOW_S)
    _, slow = start_rate(CLASS_WINDOW_S, SLOWER)
    for starts, slower in ((quick, 1.0), (slow, SLOWER)):
        for way, counted in enumerate((quick + slow, starts)):
            survival = np.cumsum(counted)[::-1] / counted.sum()  # of the remaining window, at `times`
            for action, mean_s in enumerate((FAST_S, SLOW_S)):
                law = np.diff(fits(slower * mean_s, times + STEP_S / 2), prepend=0.0)
                fitting = np.cumsum(law / survival)
                weighted[way, action] += starts @ fitting[::-1]
    return share(*weighted[0]), share(*weighted[1])


def episodes(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Shares of the steps of episodes, weighted by the window of the action and by that of the episode."""
    tables = {rule: {"duration": {"weight": "inclusion", "rule": rule}} for rule in ("window", "episode_window")}
    step = [0] * LANES

    def choose(lane: int, now_s: float) -> Attempt:
        cut = (now_s - BEGIN_S) % EPISODE_WINDOW_S == 0.0  # every window begins an episode
        step[lane] = 1 if cut else step[lane] % EPISODE_STEPS + 1
        labels = tuple(float(step[lane] == number) for number in range(1, EPISODE_STEPS + 1))
        return Attempt(length(rng, SLOW_S if rng.random() < 0.5 else FAST_S), labels, last=step[lane] == EPISODE_STEPS)

    with World(tables, labels=("first", "second", "third"), seed=0) as world:
        in_windows(world, [Lanes(world, LANES, choose)], size.of(40, 3), EPISODE_WINDOW_S)
        found = {rule: averaged(world, rule) for rule in tables}
    return {
        f"step {label + 1} by {rule}": averages.of(label) for rule, averages in found.items() for label in range(EPISODE_STEPS)
    }


def shares_by_action() -> list[float]:
    """Exact shares of the steps where each is weighted by one over the chance that the action alone fits.

    Starts of step k + 1 are those of step k, later by an action; episodes follow one another.
    """
    times = np.arange(0.0, EPISODE_WINDOW_S + STEP_S / 2, STEP_S)
    law = np.mean([np.diff(fits(mean_s, times + STEP_S / 2), prepend=0.0) for mean_s in (FAST_S, SLOW_S)], axis=0)
    after = [np.eye(1, len(times))[0]]  # law of the time from an episode's start to that of each step, and of the next episode
    for _ in range(EPISODE_STEPS):
        after.append(np.convolve(after[-1], law)[: len(times)])
    episodes_begun = np.zeros(len(times))
    episodes_begun[0] = 1.0
    for at in range(1, len(times)):
        episodes_begun[at] = episodes_begun[:at] @ after[-1][at:0:-1]
    starts = [np.convolve(episodes_begun, delay)[: len(times)] for delay in after[:-1]]
    survival = np.cumsum(sum(starts))[::-1] / np.sum(starts)
    fitting = np.cumsum(law / survival)[::-1]
    weighted = [float(begun @ fitting) for begun in starts]
    return [one / sum(weighted) for one in weighted]


RAW = share(kept(WINDOW_S, FAST_S), kept(WINDOW_S, SLOW_S))
LINEAR = share(kept(WINDOW_S, FAST_S, moment=1), kept(WINDOW_S, SLOW_S, moment=1))
CERTAIN = share(*(float(fits(mean_s, np.array([WINDOW_S]))[0]) for mean_s in (FAST_S, SLOW_S)))  # longer ones are never seen
POOLED, PER_CLASS = class_shares()
RAW_CLASSES = share(
    *(kept(CLASS_WINDOW_S, mean_s) + kept(CLASS_WINDOW_S, SLOWER * mean_s, SLOWER) for mean_s in (FAST_S, SLOW_S))
)
BY_ACTION = shares_by_action()

ROWS = (
    Row(
        "window",
        "cold windows of 20, K = 64, d = 1/10 (lognormal .25), r = .62/.67; what is unfinished is lost",
        (
            Claim("slow share raw", RAW, 0.5),
            Claim("E[R] none", reward(RAW), reward(CERTAIN)),
            Claim("E[R] linear", reward(LINEAR), reward(CERTAIN)),
            Claim("E[R] inclusion", reward(CERTAIN), reward(RAW)),
        ),
        window,
    ),
    Row(
        "window-classes",
        "windows of 50, half the actors 3 x slower: share of the slow action by one curve for all, and by one a speed class",
        (
            Claim("pooled", POOLED, RAW_CLASSES),
            Claim("per class", PER_CLASS, RAW_CLASSES),
            Claim("pooled - per class", POOLED - PER_CLASS, 0.0),
        ),
        classes,
    ),
    Row(
        "window-episodes",
        "windows of 60, episodes of 3 steps: shares of the steps, weighted by the action's own length and by the episode's until its end",
        tuple(
            claim
            for label, by_action in enumerate(BY_ACTION)
            for claim in (
                Claim(f"step {label + 1} by window", by_action, None if label == 1 else 1 / 3),
                Claim(f"step {label + 1} by episode_window", 1 / 3, None if label == 1 else by_action),
            )
        ),
        episodes,
    ),
)
