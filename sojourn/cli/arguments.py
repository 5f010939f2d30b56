"""Which arguments do several commands share, and what do they mean?"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from sojourn.config import Config
from sojourn.config.keys import known_keys
from sojourn.config.load import load_config
from sojourn.run_folder import RUNS


def complete_run(incomplete: str) -> list[str]:
    """Names of runs for the shell."""
    return sorted(file.parent.name for file in RUNS.glob(f"{incomplete}*/run.json"))


def complete_override(incomplete: str) -> list[str]:
    """Dotted keys for the shell."""
    return [f"{key}=" for key in known_keys({}) if key.startswith(incomplete)]


def complete_target(incomplete: str) -> list[str]:
    """Configuration files for the shell."""
    return sorted(
        str(file) for file in [*Path().glob("*.yaml"), *Path().glob("configs/*.yaml")] if str(file).startswith(incomplete)
    )


Target = Annotated[
    str,
    typer.Argument(metavar="FILE-OR-ENV-ID", help="Configuration file, or an environment id.", autocompletion=complete_target),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE", help="Overrides, e.g. learners.batch_size=512 actors=16.", autocompletion=complete_override
    ),
]
RunName = Annotated[
    str | None,
    typer.Argument(metavar="RUN", help="Run folder, or its name in runs/. Default: the latest.", autocompletion=complete_run),
]
RunOption = Annotated[
    str | None, typer.Option("--run", help="Run folder, or its name in runs/. Default: the latest.", autocompletion=complete_run)
]
Profile = Annotated[str | None, typer.Option("--profile", help="Short for profile=NAME: laptop, gpu, cluster, or a path.")]


def is_file(target: str) -> bool:
    """Whether FILE-OR-ENV-ID is a file."""
    return target.endswith((".yaml", ".yml")) or Path(target).is_file()


def configured(target: str | None, overrides: Sequence[str], profile: str | None = None) -> Config:
    """The configuration that the command line describes. Raises ConfigError."""
    given = [*([f"profile={profile}"] if profile else []), *overrides]
    if target is None or is_file(target):
        return load_config(Path(target) if target else None, given)
    config = load_config(None, [f"environment.id={target}", *given])
    return config if any(text.startswith("algorithm") for text in given) else _with_suited_algorithm(config, target, given)


def _with_suited_algorithm(config: Config, target: str, given: Sequence[str]) -> Config:
    """An id alone says what to learn, not how: SAC for continuous actions, DQN for discrete ones. Makes the environment once."""
    from gymnasium.spaces import Box

    from sojourn.columns import leaves
    from sojourn.environments import describe

    actions = [leaf for _, leaf in leaves(describe(config.environment, config).action_space, "action")]
    if any(isinstance(leaf, Box) for leaf in actions):
        return config
    return load_config(None, [f"environment.id={target}", "algorithm=dqn", *given])
