"""Can this configuration run here? Makes each environment once, before any process starts."""

from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.environments import describe
from sojourn.launcher.wiring import fleets


def validate(config: Config) -> None:
    """Environments can be made and stored, and fit what a new run begins with. Imports no torch: it runs before a run has a folder.

    Raises EnvironmentFault or ConfigError in the words that a user needs.
    """
    schemas = _schemas(config)
    if config.replay.initial:
        from replay.initial_source import initial_source

        source = initial_source(config.replay.initial)
        for schema in schemas:
            source.check(schema)


def validate_all(config: Config) -> None:
    """What `validate` looks at, and that the algorithm fits the spaces of every environment. Imports torch."""
    from sojourn.algorithms import build_policy

    for schema in _schemas(config):
        build_policy(config, schema)


def _schemas(config: Config) -> list[Schema]:
    settings = [fleet.environment or config.environment for fleet in fleets(config).values() if fleet.replicas]
    return [describe(each, config) for each in {repr(each): each for each in [config.environment, *settings]}.values()]
