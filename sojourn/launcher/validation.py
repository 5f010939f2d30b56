"""Can this configuration run here? Makes each environment once, before any process starts. No torch."""

from sojourn.config import Config
from sojourn.environments import make_environment, schema_of
from sojourn.launcher.wiring import fleets


def validate(config: Config) -> None:
    """Raises EnvironmentFault or ConfigError, in the words that a user needs, when an environment cannot be made or stored."""
    settings = [fleet.environment or config.environment for fleet in fleets(config).values() if fleet.replicas]
    for chosen in {repr(each): each for each in [config.environment, *settings]}.values():
        environment = make_environment(chosen)
        schema_of(environment, config, chosen)
        environment.close()
