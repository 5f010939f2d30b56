"""What an actor tells Prometheus. Cheap enough for microsecond steps: most series are brought up to date once per report."""

import numpy as np
from prometheus_client import Histogram

from actors.board import LaneBoard
from actors.lane import LISTED_FROM_S
from sojourn.experience import EndKind, Segment
from sojourn.metrics import Metrics


class ActorMeasures:
    """The actor's series. Counters of lanes are exported as differences since the last `refresh`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._turn = metrics.histogram("sojourn_actor_turn_seconds")
        self._inference = metrics.histogram("sojourn_actor_inference_seconds")
        self._duration = metrics.histogram("sojourn_actor_action_duration_seconds")
        self._ended = {kind: metrics.counter("sojourn_actor_actions_ended").labels(kind.name.lower()) for kind in EndKind}
        self._seen: dict[str, int] = {}
        self.restarts = 0

    def turn(self, seconds: float) -> None:
        """One pass of the rollout took so long."""
        self._turn.observe(seconds)

    def inference(self, seconds: float) -> None:
        """One batched choice of actions took so long."""
        self._inference.observe(seconds)

    def restarted(self) -> None:
        """A slot got a new environment."""
        self.restarts += 1
        self._metrics.counter("sojourn_actor_slot_restarts").inc()

    def waited_for_credit(self, seconds: float) -> None:
        self._metrics.counter("sojourn_actor_credit_wait_seconds").inc(seconds)

    def inserted(self, segment: Segment, seconds: float) -> None:
        """A segment was handed over, which took so long."""
        self._metrics.counter("sojourn_actor_insert_blocked_seconds").inc(seconds)
        observe_all(self._duration, segment.duration_s)

    def refresh(self, board: LaneBoard, policy_version: int, policy_age_s: float, now_s: float) -> None:
        """Bring counters and gauges up to date with the lanes."""
        with board.lock:
            ends = {kind: sum(lane.ends[kind] for lane in board.lanes) for kind in EndKind}
            running_s = [now_s - lane.started_at_s for lane in board.lanes if lane.running]
            started, episodes, means = board.started, board.episodes, board.recent_means()
        for kind, count in ends.items():
            self._ended[kind].inc(self._since(kind.name, count))
        self._count("sojourn_actor_env_steps", ends[EndKind.COMPLETED] + ends[EndKind.KILLED])
        self._count("sojourn_actor_actions_started", started)
        self._count("sojourn_actor_episodes", episodes)
        self._set("sojourn_actor_running_actions", sum(age_s >= LISTED_FROM_S for age_s in running_s))
        self._set("sojourn_actor_oldest_action_seconds", max(running_s, default=0.0))
        self._set("sojourn_actor_policy_version", policy_version)
        self._set("sojourn_actor_policy_age_seconds", policy_age_s)
        if means is not None:
            self._set("sojourn_actor_return_mean", means[0])
            self._set("sojourn_actor_episode_length_mean", means[1])

    def _since(self, name: str, count: int) -> int:
        before, self._seen[name] = self._seen.get(name, 0), count
        return count - before

    def _count(self, name: str, count: int) -> None:
        self._metrics.counter(name).inc(self._since(name, count))

    def _set(self, name: str, value: float) -> None:
        self._metrics.gauge(name).set(value)


def observe_all(histogram: Histogram, values: np.ndarray) -> None:
    """`observe` of each value. Reaches behind it: one call a value is a fiftieth of a microsecond step's time."""
    counts = np.bincount(np.searchsorted(histogram._upper_bounds, values))
    for bucket, count in zip(histogram._buckets, counts.tolist(), strict=False):
        if count:
            bucket.inc(count)
    histogram._sum.inc(float(values.sum()))
