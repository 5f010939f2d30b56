"""What does a Minari dataset, of anybody's making, give a run to begin with? Reads files; no network, no clock, no randomness."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from replay.initial_experience import check_spaces, fingerprint_of, pieces
from replay.write_minari import minari_classes
from sojourn.columns import Column, Schema, flatten, space_to_json
from sojourn.errors import ConfigError
from sojourn.experience import Columns, Segment

LANES = 8  # episodes are dealt to so many lanes, so that several shards get some


@dataclass(frozen=True)
class _Episode:
    """One of a Minari dataset: T steps, T + 1 observations, leaves by dotted name."""

    observation: Columns
    action: Columns
    found: dict[str, Any]

    @property
    def steps(self) -> int:
        return len(self.found["rewards"])

    def info(self, name: str) -> np.ndarray | None:
        """What was told of each step, [T, ...]; infos begin with the reset's. None if nothing was."""
        infos = self.found.get("infos") or {}
        values = infos.get(name, infos.get("extras", {}).get(name))
        return None if values is None or len(values) < self.steps else np.asarray(values)[len(values) - self.steps :]


class MinariSource:
    """A Minari dataset, of Sojourn's or anybody's making."""

    def __init__(self, name: str, folder: Path) -> None:
        storage_class, _ = minari_classes()
        self._name = name
        self.fingerprint = fingerprint_of(sorted(file for file in folder.rglob("*") if file.is_file()))
        try:
            self._storage = storage_class.read(folder.resolve())
        except (ValueError, OSError, ImportError, LookupError, AssertionError) as error:  # what it says of a malformed one
            raise ConfigError(f"replay.initial: {name} cannot be read by Minari: {error!r}") from error
        if self._storage.total_episodes == 0:
            raise ConfigError(f"replay.initial: the Minari dataset {name} has no episode")
        self._first_episode = next(self._episodes())
        self.lacks_durations = self._first_episode.info("duration_s") is None

    def check(self, schema: Schema) -> None:
        observation, action = space_to_json(self._storage.observation_space), space_to_json(self._storage.action_space)
        check_spaces(self._name, schema, observation, action)
        for column in (*schema.extras, *schema.core_state):
            values = self._first_episode.info(column.name)
            if values is None or column.ragged_max or values.shape[1:] != column.shape:
                raise ConfigError(
                    f"replay.initial: the Minari dataset {self._name} has no info {column.name!r} of shape {column.shape}, "
                    "which this run stores with every step"
                )

    def segments(self, schema: Schema, assumed_duration_s: float) -> Iterator[Segment]:
        sequences = [0] * LANES
        for number, episode in enumerate(self._episodes()):
            lane = number % LANES
            yield from pieces(_whole(episode, schema, lane, sequences[lane], number, assumed_duration_s), schema)
            sequences[lane] += episode.steps + 1

    def _episodes(self) -> Iterator[_Episode]:
        observation, action = self._storage.observation_space, self._storage.action_space
        for found in self._storage.get_episodes(range(self._storage.total_episodes)):
            yield _Episode(
                flatten(observation, found["observations"], "observation"), flatten(action, found["actions"], "action"), found
            )


def _whole(episode: _Episode, schema: Schema, lane: int, first: int, number: int, assumed_duration_s: float) -> Segment:
    steps = episode.steps
    terminated, truncated = (np.array(episode.found[name], np.bool_) for name in ("terminations", "truncations"))
    truncated[-1:] |= not terminated[-1:].any()
    told = {name: episode.info(name) for name in ("duration_s", "log_prob", "end_kind")}
    duration_s = np.full(steps, assumed_duration_s) if told["duration_s"] is None else told["duration_s"].astype(np.float64)
    return Segment(
        lane=lane,
        first_sequence=first,
        episode=number,
        observation=_typed(episode.observation, schema.observation_columns()),
        action=_typed(episode.action, schema.action_columns()),
        reward=np.asarray(episode.found["rewards"], np.float32),
        terminated=terminated,
        truncated=truncated,
        duration_s=duration_s,
        started_at_s=-duration_s,
        end_kind=np.zeros(steps, np.uint8) if told["end_kind"] is None else told["end_kind"].astype(np.uint8),
        log_prob=np.zeros(steps, np.float32) if told["log_prob"] is None else told["log_prob"].astype(np.float32),
        policy_version=np.zeros(steps, np.int64),
        closed=True,
        extras=_told(episode, schema.extras),
        core_state=_told(episode, schema.core_state),
    )


def _told(episode: _Episode, columns: tuple[Column, ...]) -> Columns:
    found = {column.name: episode.info(column.name) for column in columns}
    return {column.name: np.asarray(found[column.name], column.dtype) for column in columns}


def _typed(leaves: Columns, columns: list[Column]) -> Columns:
    return {column.name: np.asarray(leaves[column.name]).astype(column.dtype, copy=False) for column in columns}
