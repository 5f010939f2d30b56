"""Make an environment from its settings: id or factory, keyword arguments, limit, wrappers.

Imports and runs the environment's own code. What a user can get wrong ends as EnvironmentFault or ConfigError in one sentence.
"""

import inspect
from collections.abc import Callable
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import load_env_creator

from sojourn.config.schema import EnvironmentSettings
from sojourn.environments.guarding import guarded
from sojourn.environments.registry import near_ids, register
from sojourn.environments.rendering import prepare_rendering, quieten_mujoco
from sojourn.errors import ConfigError, EnvironmentFault
from sojourn.plugins import import_attribute, import_module

Environment = gym.Env[Any, Any]


def make_environment(settings: EnvironmentSettings, *, render: bool = False) -> Environment:
    """Make one environment, limited and wrapped as the settings say.

    settings.id: a Gymnasium id, "module:Id" (imports the module, then makes the id) or "package.module:factory" (called with
    the keyword arguments).  render: frames can be asked for with `render_frame`.
    Raises EnvironmentFault for an unknown id (with near matches), a failed import, refused keyword arguments or whatever else its
    code raises, and ConfigError for wrappers that do not fit.
    """
    return guarded(lambda: _made(settings, render), f"environment {settings.id!r}: making it")


def _made(settings: EnvironmentSettings, render: bool) -> Environment:
    register()
    kwargs = dict(settings.kwargs)
    factory = _factory_of(settings.id)
    try:
        if factory is None:
            environment = _make_registered(settings, kwargs, render)
        else:
            environment = _call(factory, kwargs, settings.max_episode_steps, render)
    except (gym.error.Error, ImportError) as error:
        raise EnvironmentFault(f"environment {settings.id!r} cannot be made: {error}") from error
    except (TypeError, ValueError) as error:
        raise EnvironmentFault(f"environment {settings.id!r} refuses its kwargs {kwargs}: {error}") from error
    return _wrapped(environment, settings)


def _factory_of(name: str) -> Callable[..., Any] | None:
    """The callable that "package.module:factory" names; None for ids of Gymnasium's registry.

    "module:Id" is an id: the import registers it, and versions ("Id-v0") are never attributes.
    """
    module_name, separator, attribute = name.partition(":")
    if not separator:
        return None
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise EnvironmentFault(f"environment {name!r}: cannot import {module_name!r}: {error}") from error
    if attribute in gym.registry:
        return None
    factory = getattr(module, attribute, None)
    if not callable(factory):
        raise EnvironmentFault(f"environment {name!r}: {module_name} registers no id and has no callable {attribute!r}")
    return factory  # type: ignore[no-any-return]


def _make_registered(settings: EnvironmentSettings, kwargs: dict[str, Any], render: bool) -> Environment:
    """Make a registered id. Gymnasium's own step checker is left out: actors check each step themselves, and faster."""
    name = settings.id.rpartition(":")[2]
    if name not in gym.registry:
        raise EnvironmentFault(_unknown(settings.id))
    entry_point = gym.registry[name].entry_point
    if isinstance(entry_point, str):
        load_env_creator(entry_point)  # imports MuJoCo, if it is one, before its first model speaks
    quieten_mujoco()
    if render:
        prepare_rendering()
        kwargs["render_mode"] = "rgb_array"
    return gym.make(name, max_episode_steps=settings.max_episode_steps, disable_env_checker=True, **kwargs)


def _call(factory: Callable[..., Any], kwargs: dict[str, Any], limit: int | None, render: bool) -> Environment:
    """Call a factory; `render_mode` is handed over only if it takes one."""
    quieten_mujoco()
    if render:
        prepare_rendering()
    parameters = inspect.signature(factory).parameters
    if render and ("render_mode" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())):
        kwargs["render_mode"] = "rgb_array"
    environment = factory(**kwargs)
    if not isinstance(environment, gym.Env):
        raise EnvironmentFault(
            f"{factory.__module__}:{factory.__qualname__} gave {type(environment).__name__}, not a gymnasium.Env"
        )
    return gym.wrappers.TimeLimit(environment, limit) if limit else environment


def _wrapped(environment: Environment, settings: EnvironmentSettings) -> Environment:
    """Apply the wrappers in order, the first innermost."""
    kwargs = settings.wrapper_kwargs or ({},) * len(settings.wrappers)
    if len(kwargs) != len(settings.wrappers):
        raise ConfigError(
            f"environment.wrapper_kwargs has {len(kwargs)} entries for {len(settings.wrappers)} wrappers: give one each, or none"
        )
    for path, arguments in zip(settings.wrappers, kwargs, strict=True):
        wrapper = import_attribute(path, "wrapper")
        try:
            environment = wrapper(environment, **arguments)
        except (TypeError, ValueError, AssertionError) as error:
            raise ConfigError(f"wrapper {path} cannot wrap {settings.id} with {arguments}: {error}") from error
        if not isinstance(environment, gym.Env):
            raise ConfigError(f"wrapper {path} gave {type(environment).__name__}, not a gymnasium.Env")
    return environment


def _unknown(name: str) -> str:
    near = near_ids(name.rpartition(":")[2])
    meant = f"; did you mean {' or '.join(near)}?" if near else "; see `sojourn list envs`, or give package.module:factory"
    return f"unknown environment {name!r}{meant}"
