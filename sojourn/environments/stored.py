"""Which schema an environment's experience has under a configuration. No I/O; reads spaces only."""

from typing import Any

import gymnasium as gym

from sojourn.columns import Column, Schema, space_columns, space_to_json, stacked_space
from sojourn.config.schema import Config, EnvironmentSettings
from sojourn.errors import EnvironmentFault
from sojourn.experience import IDLE


def schema_of(environment: gym.Env[Any, Any], config: Config, settings: EnvironmentSettings) -> Schema:
    """Schema of what an actor sends and the replay service stores.

    settings: of the fleet, so `config.environment` or the fleet's own; fleets of one run must agree, the service checks it.
    Raises EnvironmentFault where a space has no fixed shape, or frames that are not Boxes shall be stacked.
    """
    observation, action = environment.observation_space, environment.action_space
    for space, name in ((observation, "observation"), (action, "action")):
        space_columns(space, name)
    stacked_space(observation, settings.frame_stack)
    return Schema(
        observation=space_to_json(observation),
        action=space_to_json(action),
        frame_stack=settings.frame_stack,
        storage_dtype=settings.storage_dtype,
        extras=_extras(config, settings),
        task_column=_task_column(settings),
    )


def _extras(config: Config, settings: EnvironmentSettings) -> tuple[Column, ...]:
    """What is declared, and the time between actions where rewards are reckoned by the second."""
    declared = tuple(Column(x.name, x.dtype, x.shape, x.ragged_max, x.scope) for x in settings.extras)
    return (*declared, Column(IDLE, "float32")) if config.objective == "per_second" else declared


def _task_column(settings: EnvironmentSettings) -> str:
    names = [extra.name for extra in settings.extras if extra.task]
    if len(names) > 1:
        raise EnvironmentFault(f"only one extra column can label tasks, got {', '.join(names)}")
    return names[0] if names else ""
