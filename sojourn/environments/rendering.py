"""Frames without a screen, and a MuJoCo that writes no files of its own.

Sets process-wide switches of MuJoCo, PyOpenGL and SDL (environment variables, MuJoCo's warning callback).
"""

import importlib
import logging
import os
import sys
from typing import Any

import gymnasium as gym
import numpy as np

from sojourn.errors import EnvironmentFault

HOW_TO_RENDER = "install a GL library (Debian: apt install libegl1) and try again; training itself needs none"

_log = logging.getLogger(__name__)


def prepare_rendering() -> None:
    """Render off screen where there is none: EGL for MuJoCo, SDL's dummy driver for pygame. Given settings stand.

    MuJoCo must have been imported: with MUJOCO_GL set, the import itself fails where there is no GL library.
    """
    if "mujoco" in sys.modules and not os.environ.get("DISPLAY"):
        os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def render_frame(environment: gym.Env[Any, Any]) -> np.ndarray:
    """The environment's picture now, uint8[height, width, 3]; it must have been made with render=True.

    Raises EnvironmentFault, in one line with the remedy, where no frame can be had.
    """
    name = environment.spec.id if environment.spec else type(environment.unwrapped).__name__
    try:
        _load_gl(environment)
        frame = environment.render()
    except _render_errors() as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise EnvironmentFault(f"no video of {name}: {HOW_TO_RENDER} ({reason[0]})") from error
    if not isinstance(frame, np.ndarray) or frame.ndim != 3:
        raise EnvironmentFault(f"no video of {name}: its render() gives no RGB array (render_mode {environment.render_mode!r})")
    return frame


def _load_gl(environment: gym.Env[Any, Any]) -> None:
    """Load EGL before Gymnasium's viewer does: where that fails inside the viewer, its destructor prints a stack trace later."""
    if hasattr(environment.unwrapped, "mujoco_renderer") and os.environ.get("MUJOCO_GL") == "egl":
        importlib.import_module("mujoco.egl")


def quieten_mujoco() -> None:
    """Send MuJoCo's warnings to our log instead of the terminal and a MUJOCO_LOG.TXT in the working folder.

    Nothing to do while MuJoCo is not imported. Deprecations concern the authors of models, so they are logged as debug.
    """
    mujoco = sys.modules.get("mujoco")
    if mujoco is not None and mujoco.get_mju_user_warning() is None:
        mujoco.set_mju_user_warning(_log_warning)


def _log_warning(message: str) -> None:
    _log.log(logging.DEBUG if "deprecated" in message else logging.WARNING, "MuJoCo: %s", message)


def _render_errors() -> tuple[type[Exception], ...]:
    """What a missing GL library raises, by backend: PyOpenGL AttributeError or ImportError, MuJoCo its own FatalError."""
    mujoco = sys.modules.get("mujoco")
    of_mujoco: tuple[type[Exception], ...] = (mujoco.FatalError,) if mujoco is not None else ()
    return (RuntimeError, ImportError, AttributeError, OSError, gym.error.Error, *of_mujoco)
