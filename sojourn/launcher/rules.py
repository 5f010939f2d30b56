"""When is a run over? One plain function from where a run stands to the reason for ending it. Pure."""

from dataclasses import dataclass

from sojourn.config import Config


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    elapsed_s: since this start or resume.  env_steps: accepted by the replay service over the run's life.
    learner_step: highest that a learner has reported.  return_mean: of the latest evaluation, None before the first.
    """

    elapsed_s: float = 0.0
    env_steps: int = 0
    learner_step: int = 0
    return_mean: float | None = None


def reason_to_end(config: Config, standing: Standing) -> str | None:
    """The first rule of `run` and `learners` that says the run is over, in words that name the key; None while it goes on."""
    run, learners = config.run, config.learners
    if run.target_return is not None and standing.return_mean is not None and standing.return_mean >= run.target_return:
        return f"an evaluation reached {standing.return_mean:.1f}, run.target_return={run.target_return:g}"
    if standing.env_steps >= run.env_steps:
        return f"{standing.env_steps:,} environment steps were accepted, run.env_steps={run.env_steps}"
    if learners.steps is not None and standing.learner_step >= learners.steps:
        return f"{standing.learner_step:,} learner steps were made, learners.steps={learners.steps}"
    if run.minutes is not None and standing.elapsed_s >= 60 * run.minutes:
        return f"its time has passed, run.minutes={run.minutes:g}"
    return None
