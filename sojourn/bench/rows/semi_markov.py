"""Five states whose actions last: do the targets of all learners have the fixed points that linear algebra gives, clock and waits included?

Targets and rates are those of the algorithms; a table stands in for the network, so that the fixed point is found and not approached.
Every step has gone through the service. Discounts are over realised durations; the wrong way beside them takes one discount, over the
mean duration of the step, as if all were equally long.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from math import log, prod
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from sojourn.algorithms.advantages import gae, v_trace
from sojourn.algorithms.base import TrainBatch
from sojourn.algorithms.objectives import RewardRate, StepObjective, Worth, start_to_start_s
from sojourn.algorithms.sac import soft_value
from sojourn.algorithms.segments import Segments
from sojourn.algorithms.targets import TargetRule
from sojourn.bench.row import Row, Size
from sojourn.bench.shares import take
from sojourn.bench.verdict import Claim
from sojourn.bench.world import BEGIN_S, DEADLINE_S, World, eventually
from sojourn.columns import Column, Schema, space_to_json
from sojourn.config import Config
from sojourn.config.algorithms import VTraceSettings
from sojourn.errors import DeadlineError
from sojourn.experience import IDLE, EndKind, Segment

STATES, ACTIONS = 5, 2
NEXT = np.array(  # [state, action, next state]
    [
        [[0.1, 0.6, 0.1, 0.1, 0.1], [0.0, 0.1, 0.7, 0.1, 0.1]],
        [[0.3, 0.1, 0.4, 0.1, 0.1], [0.1, 0.1, 0.1, 0.6, 0.1]],
        [[0.1, 0.2, 0.1, 0.5, 0.1], [0.5, 0.1, 0.1, 0.1, 0.2]],
        [[0.2, 0.1, 0.2, 0.1, 0.4], [0.1, 0.1, 0.2, 0.1, 0.5]],
        [[0.6, 0.1, 0.1, 0.1, 0.1], [0.2, 0.3, 0.3, 0.1, 0.1]],
    ]
)
REWARD = np.array([[1.0, 3.0], [0.0, 2.0], [2.0, -1.0], [0.5, 4.0], [1.0, 1.5]])
MEAN_S = np.array([[0.5, 4.0], [1.0, 3.0], [0.3, 2.0], [0.6, 5.0], [0.4, 1.0]])  # exponential: far from equally long
WAIT_S = np.array([0.1, 0.5, 0.2, 1.0, 0.3])  # until an action starts in a state, exponential
BEHAVIOUR = np.array([[0.5, 0.5], [0.6, 0.4], [0.4, 0.6], [0.5, 0.5], [0.7, 0.3]])
POLICY = np.array([[0.7, 0.3], [0.5, 0.5], [0.5, 0.5], [0.3, 0.7], [0.8, 0.2]])
DISCOUNT, UNIT_S, TEMPERATURE, OFFSET = 0.8, 1.0, 0.2, -0.5
BETA = -log(DISCOUNT) / UNIT_S
N_STEP, LENGTH, LANES, BATCH = 3, 10, 16, 100
TRACE = 0.8
SMALL, CONVERGED = 1e-3, 1e-6
TABLES: dict[str, dict[str, Any]] = {
    "one_step": {"duration": {"weight": "inclusion"}},
    "n_steps": {"n_step": N_STEP, "duration": {"weight": "inclusion"}},
    "segments": {"item": "segment", "length": LENGTH, "duration": {"weight": "inclusion"}},
}
RATIO_CLIP = 2.0  # above all ratios of the two policies: the fixed point is that of the other policy
FOREVER = 1_000_000
SETTINGS = VTraceSettings(discount=DISCOUNT, trace=TRACE, trace_per="time_unit")
CONFIG = Config.model_validate(
    {
        "algorithm": SETTINGS,
        "duration": {"time_unit_s": UNIT_S},
        "objective": "discounted_in_time",
        "reward_timing": "spread",
    }
)
RULE = TargetRule(DISCOUNT, "discounted_in_time", UNIT_S, "spread")


class Exact(NamedTuple):
    """Fixed points. q: soft values [S, A] of `POLICY`; v, w: values [S] of `POLICY` and `BEHAVIOUR`; best: Q* [S, A]."""

    q: np.ndarray
    v: np.ndarray
    w: np.ndarray
    best: np.ndarray


def exact(discount: np.ndarray, factor: np.ndarray) -> Exact:
    """By linear algebra, from E[g] and E[c] of each state and action, float64[S, A]."""
    bonus = -TEMPERATURE * (POLICY * (np.log(POLICY) + OFFSET)).sum(axis=1)
    q = _q(POLICY, discount, factor, bonus)
    best = _q(BEHAVIOUR, discount, factor)
    while True:  # policy iteration: ends at the first policy that is greedy on its own values
        greedy = np.eye(ACTIONS)[best.argmax(axis=1)]
        improved = _q(greedy, discount, factor)
        if np.array_equal(improved.argmax(axis=1), best.argmax(axis=1)):
            v, w = ((policy * _q(policy, discount, factor)).sum(axis=1) for policy in (POLICY, BEHAVIOUR))
            return Exact(q, v, w, improved)
        best = improved


def _q(policy: np.ndarray, discount: np.ndarray, factor: np.ndarray, bonus: np.ndarray | float = 0.0) -> np.ndarray:
    """Q = c r + g P (sum_a pi Q + bonus), solved for Q: float64[S, A]."""
    ahead = (discount[..., None] * NEXT).reshape(-1, STATES)  # [S A, S']
    gain = (factor * REWARD).reshape(-1) + ahead @ np.broadcast_to(bonus, STATES)
    through = (ahead[:, :, None] * policy).reshape(-1, STATES * ACTIONS)
    found: np.ndarray = np.linalg.solve(np.eye(STATES * ACTIONS) - through, gain)
    return found.reshape(STATES, ACTIONS)


@cache
def realised() -> Exact:
    """Exponential durations: E[exp(-beta tau)] = 1 / (1 + beta d), and E[(1 - g) / (beta tau)] = log(1 + beta d) / (beta d)."""
    x = BETA * MEAN_S
    return exact(1.0 / (1.0 + x), np.log1p(x) / x)


@cache
def fixed() -> Exact:
    """As if every action took its mean time."""
    x = BETA * MEAN_S
    return exact(np.exp(-x), -np.expm1(-x) / x)


def exact_rate(*, waits: bool = True) -> float:
    """E R / E D under `BEHAVIOUR`, by the stationary distribution of the states."""
    chain = np.einsum("sa,sat->st", BEHAVIOUR, NEXT)
    balance = np.vstack([chain.T - np.eye(STATES), np.ones(STATES)])
    stationary = np.linalg.lstsq(balance, np.append(np.zeros(STATES), 1.0), rcond=None)[0]
    seconds = (BEHAVIOUR * MEAN_S).sum(axis=1) + (WAIT_S if waits else 0.0)
    return float(stationary @ (BEHAVIOUR * REWARD).sum(axis=1) / (stationary @ seconds))


SCHEMA = Schema(
    observation=space_to_json(gym.spaces.Box(0.0, STATES - 1.0, (1,), np.float32)),
    action=space_to_json(gym.spaces.Box(0.0, ACTIONS - 1.0, (1,), np.float32)),
    extras=(Column(IDLE, "float32"),),
)


def walk(rng: np.random.Generator, steps: int, lane: int) -> tuple[Segment, float]:
    """One lane's steps, the last one truncated, and when they have ended."""
    states, actions = np.empty(steps + 1, np.int64), np.empty(steps, np.int64)
    states[0] = rng.integers(STATES)
    for step in range(steps):
        actions[step] = rng.random() >= BEHAVIOUR[states[step], 0]
        states[step + 1] = np.searchsorted(NEXT[states[step], actions[step]].cumsum(), rng.random())
    before = states[:-1]
    duration_s = rng.exponential(MEAN_S[before, actions])
    waited_s = rng.exponential(WAIT_S[states[1:]])
    started_s = BEGIN_S + np.append(0.0, (duration_s + waited_s).cumsum()[:-1])
    truncated = np.zeros(steps, np.bool_)
    truncated[-1] = True
    segment = Segment(
        lane=lane,
        first_sequence=0,
        episode=0,
        observation={"observation": states[:, None].astype(np.float32)},
        action={"action": actions[:, None].astype(np.float32)},
        reward=REWARD[before, actions].astype(np.float32),
        terminated=np.zeros(steps, np.bool_),
        truncated=truncated,
        duration_s=duration_s,
        started_at_s=started_s,
        end_kind=np.full(steps, EndKind.COMPLETED, np.uint8),
        log_prob=np.log(BEHAVIOUR[before, actions]).astype(np.float32),
        policy_version=np.zeros(steps, np.int64),
        closed=True,
        extras={IDLE: waited_s.astype(np.float32)},
    )
    return segment, float(started_s[-1] + duration_s[-1] + waited_s[-1])


def collected(rng: np.random.Generator, steps: int) -> dict[str, TrainBatch]:
    """All whole batches of each table, side by side, as learners get them: float32 columns."""
    with World(TABLES, labels=("state",), seed=0) as world:
        actor = world.actor(schema=SCHEMA)
        for lane in range(LANES):
            segment, ended_s = walk(rng, steps, lane)
            world.clock.now_s = max(world.clock.now_s, ended_s)
            actor.insert(segment)
            if not actor.drain(DEADLINE_S):  # a lane at a time: a message holds so many rows and no more
                raise DeadlineError(f"the replay service did not acknowledge within {DEADLINE_S:g} s")
        eventually(lambda: world.items("one_step") == LANES * steps, "all steps to be items")
        return {table: _all_of(world, table) for table in TABLES}


def _all_of(world: World, table: str) -> TrainBatch:
    whole = world.items(table) // BATCH  # counted before a learner is lent some
    batches = list(take(world.learner(table, BATCH), whole))
    columns = {name: _joined([batch.columns[name] for batch in batches]) for name in batches[0].columns}
    return TrainBatch(columns, _joined([batch.loss_weight for batch in batches]))


def _joined(parts: Sequence[np.ndarray]) -> Tensor:
    joined = np.concatenate(parts)
    return torch.from_numpy(joined.astype(np.float32) if joined.dtype == np.float64 else joined)


def fixed_point(target: Callable[[Tensor], Tensor], cell: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The table whose targets have it as their mean: float64[shape].  cell: int64[N], where each target belongs.

    By Newton's steps with differences: one step is exact where targets are linear in the table, a few where they take a maximum.
    """
    size = prod(shape)
    count = torch.bincount(cell, minlength=size)

    def mean(table: Tensor) -> Tensor:
        return torch.zeros(size, dtype=torch.float64).index_add(0, cell, target(table.view(shape)).flatten()) / count

    table: Tensor = torch.zeros(size, dtype=torch.float64)
    units = SMALL * torch.eye(size, dtype=torch.float64)
    while True:
        found = mean(table)
        slope = torch.stack([mean(table + unit) - found for unit in units], dim=1) / SMALL
        change: Tensor = torch.linalg.solve(torch.eye(size, dtype=torch.float64) - slope, found - table)
        table = table + change
        if float(change.abs().max()) < CONVERGED:
            point: Tensor = table.view(shape)
            return point


def _states(batch: TrainBatch, name: str) -> Tensor:
    return batch[name].squeeze(-1).long()


def one_step(batch: TrainBatch, value: Callable[[Tensor], Tensor]) -> Tensor:
    """Q [S, A]. value: of every state [S] from a table [S, A]."""
    behind, reward = _states(batch, "next_observation"), batch["reward"].double()
    cell = _states(batch, "observation") * ACTIONS + _states(batch, "action")
    columns = _double(batch)
    return fixed_point(lambda q: RULE.target(reward, columns, value(q)[behind]), cell, (STATES, ACTIONS))


def softly(q: Tensor) -> Tensor:
    """SAC's value of each state under `POLICY`, which stands for its network."""
    policy = torch.from_numpy(POLICY)
    pair = q.expand(2, STATES, ACTIONS)  # two critics that agree
    value: Tensor = (policy * soft_value(pair, policy.log(), torch.tensor(TEMPERATURE, dtype=torch.float64), OFFSET)).sum(dim=1)
    return value


def n_steps(batch: TrainBatch) -> Tensor:
    """V [S] of the behaviour."""
    behind, reward, columns = _states(batch, "next_observation"), batch["reward"].double(), _double(batch)
    return fixed_point(lambda v: RULE.target(reward, columns, v[behind]), _states(batch, "observation"), (STATES,))


def segment_values(batch: TrainBatch, advantages: Callable[[Segments, Worth, Tensor, Tensor], Tensor]) -> Tensor:
    """V [S]. advantages: target less value, float64[L, B], from values before and behind each step, [L, B] each."""
    segments, state = Segments.of(batch), _states(batch, "observation")
    worth = StepObjective(CONFIG, SETTINGS).worth(
        segments.reward.double(), segments.duration_s.double(), segments.tau_s.double(), segments.mask.double()
    )
    before, behind, counts = state[:, :-1].T, state[:, 1:].T, segments.mask.T.flatten()

    def target(v: Tensor) -> Tensor:
        return (v[before] + advantages(segments, worth, v[before], v[behind])).flatten()[counts]

    return fixed_point(target, before.flatten()[counts], (STATES,))


def _gae(segments: Segments, worth: Worth, value: Tensor, behind: Tensor) -> Tensor:
    flags = segments.terminated.T, segments.ended.T
    return gae(worth.reward.T, worth.discount.T, *flags, value, behind, worth.trace.T)


def _v_trace(segments: Segments, worth: Worth, value: Tensor, behind: Tensor) -> Tensor:
    state, action = _states(segments.batch, "observation")[:, :-1], _states(segments.batch, "action")
    ratio = torch.from_numpy(POLICY)[state, action] / segments.behaviour_log_prob.double().exp()
    flags = segments.terminated.T, segments.ended.T
    parts = (worth.reward.T, worth.discount.T, *flags, value, behind, ratio.T, worth.trace.T)
    return v_trace(*parts, rho_clip=RATIO_CLIP, c_clip=1.0).target - value


def _double(batch: TrainBatch) -> dict[str, Tensor]:
    return {**batch.columns, "duration_s": batch["duration_s"].double()}


def rate_of(batch: TrainBatch) -> float:
    """Reward per second, as learners of `objective: per_second` keep it."""
    rate = RewardRate(memory_batches=FOREVER)
    rate.observe(batch["reward"], start_to_start_s(batch.columns), batch.weight_of_values[:, None])
    return float(rate.value())


def at_mean_durations(batch: TrainBatch) -> TrainBatch:
    """The same single steps, each of the mean length of its state and action: one discount for all of them."""
    mean_s = torch.from_numpy(MEAN_S)[_states(batch, "observation"), _states(batch, "action")][:, None]
    return TrainBatch({**batch.columns, "duration_s": mean_s}, batch.loss_weight)


def semi_markov(size: Size, rng: np.random.Generator) -> Mapping[str, float]:
    """Fixed points of all targets, and the rate."""
    batches = collected(rng, size.of(6_000, 600))
    single, segments, measured_rate = batches["one_step"], batches["segments"], rate_of(batches["one_step"])
    q = one_step(single, softly)
    found = {
        **_named("SAC, Q of the slow action", q[:, 1]),
        **_named("Q*, of the slow action", one_step(single, lambda table: table.amax(dim=1))[:, 1]),
        **_named("3 steps, V", n_steps(batches["n_steps"])),
        **_named("GAE, V", segment_values(segments, _gae)),
        **_named("V-trace, V of another policy", segment_values(segments, _v_trace)),
    }
    biased = one_step(at_mean_durations(single), softly)
    return {
        **found,
        "SAC with the discount of the mean duration, largest error": float((biased - torch.from_numpy(realised().q)).abs().max()),
        "reward per second": measured_rate,
        "reward per second, off by": measured_rate / exact_rate() - 1.0,
    }


def _named(name: str, values: Tensor | np.ndarray) -> dict[str, float]:
    return {f"{name}, state {state}": float(value) for state, value in enumerate(values)}


def _claims() -> tuple[Claim, ...]:
    right, wrong = realised(), fixed()
    parts = (
        ("SAC, Q of the slow action", right.q[:, 1], wrong.q[:, 1]),
        ("Q*, of the slow action", right.best[:, 1], wrong.best[:, 1]),
        ("3 steps, V", right.w, wrong.w),
        ("GAE, V", right.w, wrong.w),
        ("V-trace, V of another policy", right.v, wrong.v),
    )
    values = [
        Claim(name, float(value), float(other))
        for title, exactly, naive in parts
        for (name, value), other in zip(_named(title, exactly).items(), naive, strict=True)
    ]
    rates = (
        Claim("SAC with the discount of the mean duration, largest error"),
        Claim("reward per second", exact_rate(), exact_rate(waits=False)),
        Claim("reward per second, off by", 0.0, tolerance=0.01, chance=False),
    )
    return (*values, *rates)


ROWS = (
    Row(
        "semi-markov",
        "five states, exponential durations of .3 to 5 s, waits between actions, discount .8 a second, rewards spread over actions: "
        "fixed points of the targets beside linear algebra, those of one discount by the mean duration as the wrong rule",
        _claims(),
        semi_markov,
    ),
)
