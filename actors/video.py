"""Film one episode of the deterministic policy. Renders off screen, starts ffmpeg, writes one file, replaced atomically."""

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import gymnasium as gym
import imageio_ffmpeg
import numpy as np

from actors.episodes import Playing
from actors.steps import CheckedEnvironment, make_checked
from sojourn.algorithms import Policy
from sojourn.columns import Schema
from sojourn.config.schema import EnvironmentSettings
from sojourn.durable_files import put_in_place
from sojourn.environments import guarded, render_frame
from sojourn.errors import EnvironmentFault

FRAMES_PER_S = 30  # where the environment does not say
MOST_FRAMES = 500
MOST_S = 20.0  # of filming: MuJoCo without a GPU takes 40 ms a frame


def film_episode(
    policy: Policy,
    schema: Schema,
    settings: EnvironmentSettings,
    file: Path,
    *,
    seed: int,
    stopped: Callable[[], bool],
    progress: Callable[[], None] = lambda: None,
) -> None:
    """Write an episode, or as much of it as may be filmed, as MP4; what there is when `stopped` says True is kept.

    Raises EnvironmentFault, in one line with the remedy, where no frame can be had, and when the environment fails.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{file.stem}.{os.getpid()}{file.suffix}")
    with Playing(policy, schema, settings, [seed], progress, make=_made_to_render) as playing:
        environment = playing.environments[0].environment
        film = _Film(temporary, float(environment.metadata.get("render_fps") or FRAMES_PER_S))
        try:
            film.add(_picture(environment))
            until_s = time.monotonic() + MOST_S
            while playing.left and not stopped() and film.frames < MOST_FRAMES and time.monotonic() < until_s:
                playing.turn()
                film.add(_picture(environment))
        finally:
            film.close()
            if film.frames:
                put_in_place(temporary, file)


def _made_to_render(settings: EnvironmentSettings, schema: Schema) -> CheckedEnvironment:
    return make_checked(settings, schema, render=True)


def _picture(environment: gym.Env[Any, Any]) -> np.ndarray:
    """One frame, uint8[height, width, 3]."""
    frame: np.ndarray = guarded(lambda: render_frame(environment), "render")
    return frame


class _Film:
    """Frames on their way to ffmpeg. Invariant: ffmpeg runs from the first frame until `close`."""

    def __init__(self, file: Path, frames_per_s: float) -> None:
        self._file = file
        self._frames_per_s = frames_per_s
        self._writer: Generator[None, np.ndarray | None, None] | None = None
        self.frames = 0

    def add(self, frame: np.ndarray) -> None:
        """frame: uint8[height, width, 3]; all of one size."""
        if self._writer is None:
            height, width = frame.shape[:2]
            self._writer = imageio_ffmpeg.write_frames(
                str(self._file), (width, height), fps=self._frames_per_s, macro_block_size=2, ffmpeg_log_level="error"
            )
            self._writer.send(None)
        try:
            self._writer.send(np.ascontiguousarray(frame))
        except OSError as error:
            raise EnvironmentFault(f"no video: ffmpeg does not take the frames: {str(error).splitlines()[0]}") from error
        self.frames += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
