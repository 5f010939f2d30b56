"""What does the evaluator do? Plays episodes with each policy that is due, and keeps the results and the best policy.

Due is a policy once every `evaluation.every_env_steps` of its env_steps, the first of a run, and the last. Threads: a worker
that plays; the calling one, which sees that the worker neither hangs nor outstays the end.
"""

import logging
import threading
import time
from pathlib import Path

from actors.best import Record, append_result, keep_best, read_record
from actors.episodes import Evaluation, episode_seed, evaluate
from actors.first_look import first_look
from actors.video import film_episode
from actors.watchdog import NO_ACTION_ALLOWANCE_S, TICK_S
from sojourn.algorithms import build_policy
from sojourn.columns import Schema
from sojourn.errors import EnvironmentFault, HungError, SojournError
from sojourn.experience import ParameterSnapshot
from sojourn.metrics import Metrics
from sojourn.parameters.client import Watcher, latest_version
from sojourn.roles import RoleContext
from sojourn.seeds import lane_seed

LOG = logging.getLogger("sojourn.actors")
LOOK_S = 0.2  # how often a wait for the next version looks whether it should stop
FIRST_S = 3.0  # for the last version, where this role has not heard of it yet
FINAL_S = 8.0  # of the ten seconds that SIGTERM leaves, for the last policy
AFTERWORD_S = 0.5  # for the worker to notice that its time is over


def run(context: RoleContext) -> None:
    """Evaluate until `context.stop` is set, then the last policy once more if there is time, and return within ten seconds.

    Raises HungError when an environment does not return, and what the parameter service refuses.
    """
    metrics = Metrics("evaluator")
    wanted = context.config.metrics
    context.announce(metrics=f"{wanted.host}:{metrics.serve(wanted.host, wanted.port)}")
    assert context.parameters is not None
    schema = first_look(context.config.environment, context.config, context.stop)
    if schema is None:
        return
    watcher = Watcher(context.parameters, run_id=context.run_id, client_id=context.name)
    try:
        Evaluator(context, schema, watcher, metrics).run()
    finally:
        watcher.close()


class Evaluator:
    """Evaluates what is due. Invariant: every line of RUN/evaluations.jsonl is a whole evaluation of one policy version."""

    def __init__(self, context: RoleContext, schema: Schema, watcher: Watcher, metrics: Metrics) -> None:
        config = context.config
        self._context = context
        self._settings = config.environment
        self._watcher = watcher
        self._metrics = metrics
        self._schema = schema
        self._policy = build_policy(config, self._schema)
        self._record = read_record(context.run_folder)
        self._films = config.evaluation.video
        self._stopped_s = float("inf")
        self._moved_s = time.monotonic()
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Watch the worker until it has ended, has no time left, or hangs."""
        worker = threading.Thread(target=self._work, name=f"{self._context.name} worker", daemon=True)
        worker.start()
        while worker.is_alive():
            worker.join(TICK_S)
            now_s = time.monotonic()
            if self._context.stop.is_set():
                self._stopped_s = min(self._stopped_s, now_s)
            if now_s > self._stopped_s + FINAL_S + AFTERWORD_S:
                return  # inside an environment's step: left behind
            if now_s - self._moved_s > self._settings.step_timeout_s + NO_ACTION_ALLOWANCE_S:
                raise HungError(
                    f"environment {self._settings.id} did not return for {now_s - self._moved_s:.0f} s in an evaluation"
                )
        if self._failure is not None:
            raise self._failure

    def _work(self) -> None:
        try:
            while not self._context.stop.is_set():
                snapshot = self._watcher.wait(self._record.policy_version, LOOK_S)
                self._move()
                if snapshot is not None and self._is_due(snapshot):
                    self._evaluate(snapshot)
                elif snapshot is not None:
                    self._context.stop.wait(LOOK_S)
            self._conclude()
        except BaseException as error:  # noqa: BLE001  raised again by `run`, on the calling thread
            self._failure = error

    def _conclude(self) -> None:
        """Evaluate and film the last policy, unless that was the latest work anyway."""
        last = self._last()
        if last is None:
            return
        latest = self._record.evaluations - 1
        if last.policy_version > self._record.policy_version:
            self._evaluate(last)
        elif latest >= 0 and not self.video_file(last).exists():
            self._policy.load(last.tensors)
            self._film(last, latest, self._seed(latest))

    def _last(self) -> ParameterSnapshot | None:
        """The newest version that the service holds: what a learner publishes as it ends may come after the word to end here."""
        heard = self._watcher.latest()
        assert self._context.parameters is not None
        try:
            newest = latest_version(self._context.parameters, FIRST_S)
        except SojournError:  # the service has gone: what was heard is all there is
            return heard
        if heard is not None and heard.policy_version >= newest:
            return heard
        return self._watcher.wait(newest - 1, FIRST_S) or heard

    def _seed(self, number: int) -> int:
        """Seed of the run's evaluation `number`, counted from 0."""
        return lane_seed(self._context.config.run.seed, "evaluator", self._context.index, 0, number)

    def _is_due(self, snapshot: ParameterSnapshot) -> bool:
        every = self._context.config.evaluation.every_env_steps
        return self._record.evaluations == 0 or snapshot.env_steps // every > self._record.env_steps // every

    def _evaluate(self, snapshot: ParameterSnapshot) -> None:
        """Evaluate one version; an environment that fails costs this evaluation only."""
        number = self._record.evaluations
        seed = self._seed(number)
        self._policy.load(snapshot.tensors)
        try:
            evaluation = evaluate(
                self._policy,
                self._schema,
                self._settings,
                episodes=self._context.config.evaluation.episodes,
                seed=seed,
                stopped=self._out_of_time,
                progress=self._move,
            )
            if evaluation is not None:
                self._keep(snapshot, evaluation, seed)
                self._film(snapshot, number, seed)
        except (EnvironmentFault, OSError) as error:  # the disk may have room again for the next one
            LOG.warning("evaluation %d of policy version %d was given up: %s", number, snapshot.policy_version, error)
            self._metrics.counter("sojourn_evaluator_failed_evaluations").inc()
            self._record = Record(number, snapshot.env_steps, snapshot.policy_version, self._record.best)

    def _keep(self, snapshot: ParameterSnapshot, evaluation: Evaluation, seed: int) -> None:
        """Results first, then the policy: a crash between the two loses no line."""
        best = evaluation.return_mean > self._record.best
        append_result(self._context.run_folder, snapshot, evaluation, seed=seed, best=best)
        if best:
            keep_best(self._context.run_folder, self._context.run_id, snapshot, evaluation)
        self._record = Record(
            self._record.evaluations + 1,
            snapshot.env_steps,
            snapshot.policy_version,
            max(evaluation.return_mean, self._record.best),
        )
        self._export(snapshot, evaluation)

    def _export(self, snapshot: ParameterSnapshot, evaluation: Evaluation) -> None:
        metrics = self._metrics
        metrics.gauge("sojourn_evaluator_return_mean").set(evaluation.return_mean)
        metrics.gauge("sojourn_evaluator_return_std").set(evaluation.return_std)
        metrics.gauge("sojourn_evaluator_return_best").set(self._record.best)
        metrics.gauge("sojourn_evaluator_policy_version").set(snapshot.policy_version)
        metrics.gauge("sojourn_evaluator_env_steps").set(snapshot.env_steps)
        metrics.counter("sojourn_evaluator_episodes").inc(len(evaluation.returns))
        metrics.counter("sojourn_evaluator_evaluations").inc()
        metrics.histogram("sojourn_evaluator_evaluation_seconds").observe(evaluation.seconds)

    def _film(self, snapshot: ParameterSnapshot, number: int, seed: int) -> None:
        """A video of every `video_every`-th evaluation and of the last one; where that is impossible, say so once."""
        last = self._context.stop.is_set()
        if not self._films or not (last or (number + 1) % self._context.config.evaluation.video_every == 0):
            return
        file = self.video_file(snapshot)
        try:
            film_episode(
                self._policy,
                self._schema,
                self._settings,
                file,
                seed=episode_seed(seed, 0),
                stopped=self._out_of_time,
                progress=self._move,
            )
        except EnvironmentFault as fault:
            LOG.warning("%s", fault)
            file.parent.mkdir(exist_ok=True)
            (file.parent / "none.txt").write_text(f"{fault}\n")  # for whoever looks for the videos
            self._films = False

    def video_file(self, snapshot: ParameterSnapshot) -> Path:
        """Where the video of a version is: named so that files sort by env steps."""
        return self._context.run_folder / "videos" / f"env-steps-{snapshot.env_steps:012d}.mp4"

    def _move(self) -> None:
        self._moved_s = time.monotonic()

    def _out_of_time(self) -> bool:
        return time.monotonic() > self._stopped_s + FINAL_S
