"""Where does one environment slot stand: its episode, its running action, its open segment, its counts?

Pure state: no I/O, no clock (times are handed in), no randomness. One thread at a time; `LaneBoard` holds the lock.
"""

from collections import deque
from collections.abc import Callable

import numpy as np

from actors.outcomes import Beginning, Outcome
from actors.segments import SegmentBuilder
from actors.stacking import Observations
from actors.waits import Waits
from replay.client import LaneCounts, RunningAction
from sojourn.columns import Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.environments import read_extras
from sojourn.experience import IDLE, Columns, EndKind, Segment, Transition

LISTED_FROM_S = 0.1  # younger actions are counted, not listed (design: microsecond steps cost nothing extra)
_KINDS = tuple(EndKind)


class Lane:
    """One slot's part of the stream of experience.

    Invariant (`check`): started = sum of ends + (1 while an action runs); rows leave in lane sequence; an episode that can go
    no further is closed before the next one begins.
    """

    def __init__(
        self,
        slot: int,
        schema: Schema,
        settings: EnvironmentSettings,
        observations: Observations,
        *,
        segment_steps: int,
        emit: Callable[[Segment], None],
        finished: Callable[[float, int], None],
        simulated_clock: bool = False,
    ) -> None:
        """emit: takes each segment when it is full, closed, cut or flushed.

        finished: told return and length of each episode that ended by itself or by a killed action.
        """
        self.slot = slot
        self.started = 0
        self.ends = [0] * len(_KINDS)
        self.ended_without_row_s = 0.0
        self.running = False
        self.started_at_s = 0.0
        self.oldest_row_s = 0.0
        self._settings = settings
        self._observations = observations
        self._rows = SegmentBuilder(schema, slot, segment_steps)
        reckons_waits = any(column.name == IDLE for column in schema.extras)
        self._waits = Waits(emit, simulated_clock=simulated_clock) if reckons_waits else None
        self._emit = emit
        self._finished = finished
        self._simulated_clock = simulated_clock
        self._task_column = schema.task_column
        self._episode_extras: Columns = {}
        self._episode_started_s = 0.0
        self._in_episode = False
        self._return, self._steps = 0.0, 0
        self._action: Columns = {}
        self._log_prob = 0.0
        self._policy_version = 0
        self._unreported: deque[RunningAction] = deque(maxlen=64)

    # episodes

    def begin(self, beginning: Beginning, now_s: float) -> None:
        """An episode starts with the observation of a reset."""
        assert not self.running
        self._rows.begin()
        self._observations.restart(self.slot, beginning.observation)
        self._episode_extras = beginning.extras
        self._episode_started_s = now_s
        self._in_episode = True
        if self._waits:
            self._waits.reset_took(beginning.duration_s)
        self._return, self._steps = 0.0, 0

    # actions

    def start(self, action: Columns, log_prob: float, policy_version: int, now_s: float) -> None:
        """An action is handed to the environment. action: leaves without a batch axis; kept until it ends."""
        assert not self.running
        assert self._in_episode
        self._charge_wait(now_s)
        self._action, self._log_prob, self._policy_version = action, log_prob, policy_version
        self.started_at_s = now_s
        self.started += 1
        self.running = True

    def complete(self, outcome: Outcome, now_s: float) -> None:
        """The environment returned. The segment goes out if it is full or the episode has ended."""
        self._end(EndKind.COMPLETED)
        self._add(outcome, EndKind.COMPLETED, now_s)
        self._observations.push(self.slot, outcome.observation)
        ended = outcome.terminated or outcome.truncated
        if ended:
            self._leave_episode()
        if ended or self._rows.full:
            self._take(closed=ended)

    def kill(self, limit_s: float, now_s: float) -> None:
        """We stopped the action at the time limit: a row with the killed reward, closed by repeating the last observation."""
        self._end(EndKind.KILLED)
        terminated = self._settings.on_kill == "terminated"
        extras = read_extras(self._settings, {}, "step") if self._settings.extras else {}
        reward = self._settings.killed_reward
        newest = self._observations.newest(self.slot)
        self._add(Outcome(newest, reward, terminated, not terminated, limit_s, extras), EndKind.KILLED, now_s)
        self._leave_episode()
        self._take(closed=True)

    def lose(self, kind: EndKind, now_s: float) -> None:
        """The running action ended without a row (failed, aborted, crashed): counted, and the episode is cut before it."""
        self._end(kind)
        elapsed_s = max(0.0, now_s - self.started_at_s)
        self.ended_without_row_s += elapsed_s
        if elapsed_s >= LISTED_FROM_S:
            self._unreported.append(self._listed(now_s, kind))
        self.cut()

    def cut(self) -> None:
        """No action runs and the episode cannot go on: what is stored of it is closed as truncated at its last good observation."""
        assert not self.running
        if self._in_episode:
            self._in_episode = False
            segment = self._rows.cut(self._observations.newest(self.slot))
            if segment is not None:
                self._hand_over(segment)

    # handing over

    def flush(self) -> None:
        """Hand over the rows of an episode that goes on."""
        if self._rows.length:
            self._take(closed=False)

    def flush_aged(self, age_s: float, now_s: float) -> None:
        """Hand over rows that have waited for so long, also where it is not known yet how long the lane waits behind them."""
        if self._rows.length and now_s - self.oldest_row_s >= age_s:
            self.flush()
        if self._waits and self._in_episode and not self.running and self._waits.held_for_s(now_s) >= age_s:
            self._charge_wait(now_s)  # the learner may be what it waits for; a reset it outlasts

    def close(self, now_s: float) -> None:
        """Nothing follows: hand over what was held back."""
        assert not self.running
        self._charge_wait(now_s)

    # accounts

    def counts(self) -> LaneCounts:
        completed, killed, failed, aborted, crashed = self.ends
        return LaneCounts(self.slot, self.started, completed, killed, failed, aborted, crashed, self.ended_without_row_s)

    def listed(self, now_s: float) -> RunningAction | None:
        """The running action if it is old enough to be listed."""
        return self._listed(now_s, None) if self.running and now_s - self.started_at_s >= LISTED_FROM_S else None

    def ended_unreported(self) -> list[RunningAction]:
        """Listed actions that ended without a row since the last call."""
        actions = list(self._unreported)
        self._unreported.clear()
        return actions

    def check(self) -> None:
        """Prove the invariant, or raise AssertionError."""
        assert self.started == sum(self.ends) + self.running, (self.started, self.ends, self.running)
        self._rows.check()

    def _listed(self, now_s: float, ended: EndKind | None) -> RunningAction:
        task = self._episode_extras.get(self._task_column)
        return RunningAction(
            lane=self.slot,
            action_number=self.started,
            age_s=now_s - self.started_at_s,
            policy_version=self._policy_version,
            task="" if task is None else str(task),
            episode_age_s=now_s - self._episode_started_s,
            ended=ended,
            ticking=not self._simulated_clock,
        )

    def _charge_wait(self, now_s: float) -> None:
        """What passed since the last row's action ended belongs to that row, where waits are reckoned."""
        if self._waits is None:
            return
        waited_s = self._waits.take(now_s)
        if self._rows.length:
            self._rows.charge(IDLE, waited_s)
        else:
            self._waits.charge(waited_s)

    def _hand_over(self, segment: Segment) -> None:
        if self._waits and not self.running:
            self._waits.hold(segment)
        else:
            self._emit(segment)

    def _end(self, kind: EndKind) -> None:
        assert self.running
        self.running = False
        self.ends[kind] += 1

    def _add(self, outcome: Outcome, kind: EndKind, now_s: float) -> None:
        if not self._rows.length:
            self.oldest_row_s = now_s
        self._return += outcome.reward
        self._steps += 1
        extras = {**self._episode_extras, **outcome.extras} if self._episode_extras else outcome.extras
        if self._waits:
            self._waits.row_ended(now_s if self._simulated_clock else self.started_at_s + outcome.duration_s)
            extras = {**extras, IDLE: np.zeros((), np.float32)}
        self._rows.add(
            Transition(
                self._observations.newest(self.slot),
                self._action,
                outcome.reward,
                outcome.terminated,
                outcome.truncated,
                outcome.duration_s,
                self.started_at_s,
                kind,
                self._log_prob,
                self._policy_version,
                extras,
            )
        )

    def _leave_episode(self) -> None:
        self._in_episode = False
        self._finished(self._return, self._steps)

    def _take(self, *, closed: bool) -> None:
        self._hand_over(self._rows.take(self._observations.newest(self.slot), closed=closed))
