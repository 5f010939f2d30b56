"""The policy sees the newest frame, or the last k with the first one repeated at an episode's start."""

import numpy as np
from gymnasium.spaces import Box, Dict

from actors.stacking import Observations
from sojourn.columns import Schema, space_to_json

SPACE = Dict({"camera": Box(0, 255, (2,), np.uint8), "speed": Box(-1, 1, (), np.float32)})


def frame(value: int) -> dict[str, np.ndarray]:
    return {"observation.camera": np.full(2, value, np.uint8), "observation.speed": np.float32(value)}


def schema(frames: int) -> Schema:
    return Schema(space_to_json(SPACE), {"type": "Discrete", "n": 2, "start": 0}, frame_stack=frames)


def test_frames_are_stacked_oldest_first_and_the_first_fills_the_stack():
    observations = Observations(schema(3), slots=2)
    observations.restart(1, frame(1))
    assert observations.batch()["observation.camera"][1, :, 0].tolist() == [1, 1, 1]
    observations.push(1, frame(2))
    observations.push(1, frame(3))
    observations.push(1, frame(4))
    assert observations.batch()["observation.camera"][1].tolist() == [[2, 2], [3, 3], [4, 4]]
    assert observations.batch([1])["observation.speed"].tolist() == [[2.0, 3.0, 4.0]]


def test_newest_is_a_single_frame_and_other_slots_keep_theirs():
    observations = Observations(schema(3), slots=2)
    observations.restart(0, frame(7))
    observations.restart(1, frame(1))
    observations.push(1, frame(9))
    assert observations.newest(0)["observation.camera"].tolist() == [7, 7]
    assert observations.newest(1)["observation.speed"] == 9.0
    assert observations.batch()["observation.camera"][0, :, 0].tolist() == [7, 7, 7]


def test_without_stacking_there_is_no_frame_axis():
    observations = Observations(schema(1), slots=2)
    observations.restart(0, frame(3))
    observations.push(0, frame(4))
    assert observations.batch()["observation.camera"].shape == (2, 2)
    assert observations.batch([0])["observation.camera"].tolist() == [[4, 4]]
