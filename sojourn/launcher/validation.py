"""Can this configuration run here? Makes each environment once, before any process starts."""

from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.environments import describe
from sojourn.launcher.wiring import fleets


def validate(config: Config) -> None:
    """Environments can be made and stored. Imports no torch: it runs before a run has a folder.

    Raises EnvironmentFault or ConfigError in the words that a user needs.
    """
    _schemas(config)


def validate_all(config: Config) -> None:
    """What `validate` looks at, and that the algorithm fits the spaces of every environment. Imports torch."""
    from sojourn.algorithms import build_policy

    for schema in _schemas(config):
        build_policy(config, schema)


def _schemas(config: Config) -> list[Schema]:
    settings = [fleet.environment or config.environment for fleet in fleets(config).values() if fleet.replicas]
    return [describe(each, config) for each in {repr(each): each for each in [config.environment, *settings]}.values()]
