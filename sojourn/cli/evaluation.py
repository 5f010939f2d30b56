"""`sojourn eval`: how well does a run's policy do? Plays whole episodes in this process."""

import time
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.arguments import RunName
from sojourn.config import Config
from sojourn.errors import CheckpointError
from sojourn.readable import number, seconds
from sojourn.run_folder import find_run, run_config

POLICY = "policy.safetensors"


def evaluate_run(
    run: RunName = None,
    episodes: Annotated[int | None, typer.Option(min=1, help="How many. Default: evaluation.episodes.")] = None,
    checkpoint: Annotated[
        str, typer.Option(metavar="best|latest|NAME|PATH", help="Which policy: a checkpoint of the run, or a policy file.")
    ] = "best",
    video: Annotated[bool, typer.Option("--video", help="Film the first episode into RUN/videos/.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal starts.")] = 0,
) -> None:
    """Play episodes with a run's policy. Prints each return, then mean and standard deviation."""
    path = find_run(run)
    config, file = run_config(path), policy_file(path, checkpoint)  # a mistake is said before torch is imported

    from actors.episodes import episode_seed, evaluate
    from actors.video import film_episode
    from sojourn.algorithms import build_policy
    from sojourn.environments import describe

    schema = describe(config.environment, config)
    policy = build_policy(config, schema)
    policy.load(_read(file))
    typer.echo(f"{file}  {config.environment.id}")
    result = evaluate(policy, schema, config.environment, episodes=_wanted(episodes, config), seed=seed)
    assert result is not None, "nobody stops this evaluation"
    for episode, (reached, length) in enumerate(zip(result.returns, result.lengths, strict=True)):
        typer.echo(f"episode {episode}  return {number(reached)}  steps {length}")
    typer.echo(
        f"return {number(result.return_mean)} +- {number(result.return_std)}  {len(result.returns)} episodes  {seconds(result.seconds)}"
    )
    if video:
        film = path / "videos" / f"eval-{time.strftime('%Y%m%d-%H%M%S')}.mp4"
        film_episode(policy, schema, config.environment, film, seed=episode_seed(seed, 0), stopped=lambda: False)
        typer.echo(f"video {film}")


def policy_file(path: Path, checkpoint: str) -> Path:
    """The policy's tensors that `best`, `latest`, a checkpoint's name or a path means. Raises CheckpointError if there are none."""
    kept = sorted((path / "checkpoints").glob(f"[!.]*/{POLICY}"), key=lambda file: file.stat().st_mtime_ns)
    if checkpoint == "latest":
        written = [file for file in kept if not file.parent.name.startswith("best")]
        if not written:
            raise CheckpointError(f"{path} has no checkpoint yet")
        return written[-1]
    named = Path(checkpoint)
    for file in (path / "checkpoints" / checkpoint / POLICY, named / POLICY, named):
        if file.is_file():
            return file
    if checkpoint == "best" and kept:
        return kept[-1]  # stopped before its first evaluation
    there = ", ".join(sorted({file.parent.name for file in kept})) or "none yet"
    raise CheckpointError(f"{checkpoint} is no checkpoint with a policy; checkpoints of {path}: {there}")


def _wanted(episodes: int | None, config: Config) -> int:
    return config.evaluation.episodes if episodes is None else episodes


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}") from error
