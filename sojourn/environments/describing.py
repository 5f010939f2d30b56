"""What does an environment's experience look like? Makes one environment, reads its spaces and closes it.

Runs the environment's own code, which may block for as long as it likes.
"""

from sojourn.columns import Schema
from sojourn.config.schema import Config, EnvironmentSettings
from sojourn.environments.guarding import guarded
from sojourn.environments.making import make_environment
from sojourn.environments.stored import schema_of


def describe(settings: EnvironmentSettings, config: Config) -> Schema:
    """Schema of the environment's experience. Raises EnvironmentFault, or ConfigError for wrappers that do not fit."""
    environment = make_environment(settings)
    try:
        return guarded(lambda: schema_of(environment, config, settings), f"environment {settings.id!r}: reading its spaces")
    finally:
        guarded(environment.close, f"environment {settings.id!r}: close")
