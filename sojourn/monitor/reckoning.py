"""How do readings of all roles become one record? Rates, restarts, and what stays true while a role is away. Pure: no I/O, no clock."""

import math
from collections import deque
from dataclasses import dataclass

from sojourn.monitor.progress import Evaluation, Progress
from sojourn.monitor.scrape import Sample
from sojourn.monitor.sums import Buckets, Readings, added, buckets, highest, mean, quantile, total, values

RATE_WINDOW_S = 10.0
"""Rates are over so long: shorter ones flicker with every publication and checkpoint."""

DURATIONS, LAGS = "sojourn_actor_action_duration_seconds", "sojourn_learner_policy_lag_versions"
LEARNER_PREFIX, LEARNER_STEP = "sojourn_learner_", "sojourn_learner_step"

Life = tuple[str, int, float]
"""A role's name, process and start."""


@dataclass(frozen=True)
class _Counts:
    """Counters at one moment, of which rates are differences."""

    at_s: float
    env_steps: float
    learner_step: float
    waited_s: float
    lag_sum: float
    lag_count: float


class Reckoner:
    """Turns readings into records; keeps what rates and restarts need of the earlier ones."""

    def __init__(self, table: str, known: Progress | None = None) -> None:
        """known: what was recorded last of this run, below which no count starts: its services take a while to read back theirs."""
        self._table = table
        self._known = known or Progress(0.0, 0.0)
        self._recent: deque[_Counts] = deque()
        self._highest: dict[str, dict[str, float]] = {}
        self._evaluation = self._known.evaluation
        self._counted: dict[str, dict[Life, Buckets]] = {DURATIONS: {}, LAGS: {}}
        self._lives: dict[str, tuple[int, float]] = {}
        self._restarts: dict[str, int] = {}
        self._began_s: float | None = None

    def record(self, readings: Readings, time_s: float, clock_s: float) -> Progress:
        """time_s: Unix time, for the record.  clock_s: monotonic time, for rates."""
        if self._began_s is None:
            self._began_s = clock_s
        self._notice_restarts(readings)
        self._evaluation = _evaluation(readings) or self._evaluation
        now = self._counts(readings, clock_s)
        before = self._window(now)
        span_s = max(now.at_s - before.at_s, 1e-9)
        table = {"table": self._table}
        durations, lags = self._all_lives(readings, DURATIONS), self._all_lives(readings, LAGS)
        return Progress(
            time_s=time_s,
            elapsed_s=clock_s - self._began_s,
            env_steps=int(now.env_steps),
            env_steps_per_s=max(0.0, now.env_steps - before.env_steps) / span_s,
            episodes=max(self._known.episodes, int(sum(self._lasting(readings, "sojourn_replay_episodes")))),
            learner_step=int(now.learner_step),
            updates_per_s=max(0.0, now.learner_step - before.learner_step) / span_s,
            policy_version=int(max([*self._lasting(readings, "sojourn_parameters_version"), self._known.policy_version])),
            training_return=mean(readings, "sojourn_actor_return_mean", "sojourn_actor_episodes_total"),
            episode_length=mean(readings, "sojourn_actor_episode_length_mean", "sojourn_actor_episodes_total"),
            evaluation=self._evaluation,
            replay_items=_whole(total(readings, "sojourn_replay_items", **table)),
            replay_capacity_items=_whole(total(readings, "sojourn_replay_capacity_items", **table)),
            replay_oldest_s=highest(readings, "sojourn_replay_oldest_item_seconds", **table),
            replay_age_s=_middle(values(readings, "sojourn_replay_item_age_seconds", **table)),
            policy_lag=_recent_lag(now, before),
            duration_p50_s=quantile(durations, 0.5),
            duration_p99_s=quantile(durations, 0.99),
            running_actions=int(total(readings, "sojourn_actor_running_actions") or 0),
            sample_wait_share=_share(now.waited_s - before.waited_s, span_s * _learners(readings)),
            restarts=dict(self._restarts),
            roles={name: reading.up for name, reading in readings.items() if not reading.gone},
            duration_counts={_bound(bound): count for bound, count in durations.items()},
            lag_counts={_bound(bound): count for bound, count in lags.items()},
            learner=_learner_gauges(readings),
        )

    def _all_lives(self, readings: Readings, histogram: str) -> Buckets:
        """A histogram over all lives of roles in this launch: those that have ended count with what they said last."""
        lives = self._counted[histogram]
        for name, reading in readings.items():
            if found := buckets({name: reading}, histogram):
                lives[(name, *reading.life)] = found
        return added(lives.values())

    def _window(self, now: _Counts) -> _Counts:
        """The oldest counts within the window, at least one reading old if there is one."""
        self._recent.append(now)
        while len(self._recent) > 2 and now.at_s - self._recent[0].at_s > RATE_WINDOW_S:
            self._recent.popleft()
        return self._recent[0]

    def _lasting(self, readings: Readings, series: str) -> list[float]:
        """Each role's highest value so far of a series that never falls over its restarts, roles that are away included.

        A service that was just started says 0 until it has read back what it knew.
        """
        so_far = self._highest.setdefault(series, {})
        for name, reading in readings.items():
            for value in values({name: reading}, series):
                so_far[name] = max(value, so_far.get(name, 0.0))
        return list(so_far.values())

    def _learner_step(self, readings: Readings) -> float:
        """As the learner says; while it is away or has not read its checkpoint yet, the highest that anybody knew of."""
        known = [*self._lasting(readings, LEARNER_STEP), *self._lasting(readings, "sojourn_replay_learner_step")]
        return highest(readings, LEARNER_STEP) or max([*known, float(self._known.learner_step)])

    def _counts(self, readings: Readings, clock_s: float) -> _Counts:
        return _Counts(
            at_s=clock_s,
            env_steps=max(float(self._known.env_steps), sum(self._lasting(readings, "sojourn_replay_env_steps"))),
            learner_step=self._learner_step(readings),
            waited_s=total(readings, "sojourn_learner_sample_wait_seconds_total") or 0.0,
            lag_sum=total(readings, f"{LAGS}_sum") or 0.0,
            lag_count=total(readings, f"{LAGS}_count") or 0.0,
        )

    def _notice_restarts(self, readings: Readings) -> None:
        for name, reading in readings.items():
            if reading.gone:
                self._lives.pop(name, None)  # if it comes back, nothing has failed
            if not reading.up:
                continue
            if self._lives.get(name, reading.life) != reading.life:
                self._restarts[name] = self._restarts.get(name, 0) + 1
            self._lives[name] = reading.life


def _evaluation(readings: Readings) -> Evaluation | None:
    count = total(readings, "sojourn_evaluator_evaluations_total")
    return_mean = highest(readings, "sojourn_evaluator_return_mean")
    if not count or return_mean is None:
        return None
    return Evaluation(
        count=int(count),
        policy_version=int(highest(readings, "sojourn_evaluator_policy_version") or 0),
        env_steps=int(highest(readings, "sojourn_evaluator_env_steps") or 0),
        return_mean=return_mean,
        return_std=highest(readings, "sojourn_evaluator_return_std") or 0.0,
        return_best=highest(readings, "sojourn_evaluator_return_best") or return_mean,
    )


def _recent_lag(now: _Counts, before: _Counts) -> float | None:
    """Mean lag over the window, or over the learners' lives where a restart made the counts fall or nothing was drawn."""
    count = now.lag_count - before.lag_count
    if count > 0:
        return max(0.0, now.lag_sum - before.lag_sum) / count
    return now.lag_sum / now.lag_count if now.lag_count else None


def _learners(readings: Readings) -> int:
    return sum(reading.up for name, reading in readings.items() if name.startswith("learner"))


def _learner_gauges(readings: Readings) -> dict[str, float]:
    """Gauges of the first learner: plain names, no counters, no parts of histograms."""
    first = next((reading for name, reading in readings.items() if name.startswith("learner") and reading.up), None)
    if first is None:
        return {}
    return {_short_name(sample): sample.value for sample in first.samples if _is_gauge(sample) and math.isfinite(sample.value)}


def _is_gauge(sample: Sample) -> bool:
    parts = ("_total", "_created", "_bucket", "_sum", "_count")
    plain = sample.labels.keys() <= {"name"}  # sums by duration have a record of their own
    return plain and sample.name.startswith(LEARNER_PREFIX) and sample.name != LEARNER_STEP and not sample.name.endswith(parts)


def _short_name(sample: Sample) -> str:
    """sojourn_learner_critic_loss is critic_loss; what plug-ins measure has its name as a label."""
    return sample.labels.get("name") or sample.name.removeprefix(LEARNER_PREFIX)


def _share(part: float, whole: float) -> float | None:
    return min(1.0, max(0.0, part) / whole) if whole > 0 else None


def _middle(found: list[float]) -> float | None:
    return sum(found) / len(found) if found else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)


def _bound(bound: float) -> str:
    return "inf" if math.isinf(bound) else f"{bound:g}"
