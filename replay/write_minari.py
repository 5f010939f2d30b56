"""How does an opened table become a Minari dataset? Whole episodes only, losslessly, as HDF5. Writes files; blocks.

FOLDER/data is the dataset: `minari.MinariDataset("FOLDER/data")`, or `minari.load_dataset("NAME")` where FOLDER is NAME below
MINARI_DATASETS_PATH. It appears when it is whole.
"""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from replay.episodes import Episodes
from replay.nested_columns import Tree, leaves_of, trees
from replay.open_table import OpenTable
from replay.write_parquet import prepare
from sojourn.durable_files import put_in_place
from sojourn.errors import CheckpointError, ConfigError
from sojourn.experience import Columns, EndKind

KIND_NUMBERS = {kind.name.lower(): int(kind) for kind in EndKind}
INFO_COLUMNS = ("duration_s", "log_prob", "policy_version")


@dataclass
class WrittenEpisodes:
    """cut_steps: of episodes whose beginning or middle is not in the table any more.  unfinished_steps: of those that have not ended."""

    episodes: int = 0
    steps: int = 0
    cut_steps: int = 0
    unfinished_steps: int = 0


def write_minari(table: OpenTable, folder: Path, environment_id: str = "") -> WrittenEpisodes:
    """Write every whole episode of the table into the folder, which must be empty or not there.

    Observations and actions are as the spaces say (float64 ones come from stored float32). `infos` holds `duration_s`, `log_prob`,
    `policy_version`, `end_kind` (a number, `sojourn.experience.EndKind`) and fixed-shape extras, of step t at t + 1.
    Memory holds the episodes under way. Raises ConfigError without Minari, CheckpointError where nothing can be written.
    """
    storage_class, buffer_class = minari_classes()
    prepare(folder)
    temporary = folder.resolve() / ".data.writing"  # Minari loses its way on relative paths
    episodes, written = Episodes(), WrittenEpisodes()
    schema = table.schema
    try:
        storage = storage_class.new(
            temporary,
            observation_space=schema.observation_space,
            action_space=schema.action_space,
            env_spec=gym.registry.get(environment_id),
            data_format="hdf5",
            jpeg_encoding=False,
        )
        storage.update_metadata({"dataset_id": dataset_id(folder), "minari_version": version("minari")})
        storage.update_episodes(_buffers(table, episodes, written, buffer_class))
        put_in_place(temporary, folder / "data")
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written: {error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    written.cut_steps, written.unfinished_steps = episodes.cut_steps, episodes.unfinished_steps
    return written


def minari_classes() -> tuple[Any, Any]:
    """Minari's storage and episode buffer. Raises ConfigError if it is not installed."""
    try:
        import h5py  # noqa: F401  the format that is written
        from minari.data_collector.episode_buffer import EpisodeBuffer
        from minari.dataset.minari_storage import MinariStorage
    except ImportError as error:
        raise ConfigError(
            f"Minari datasets need a package that is not installed ({error}): pip install 'sojourn[minari]'"
        ) from error
    return MinariStorage, EpisodeBuffer


def dataset_id(folder: Path) -> str:
    """A name as Minari wants it: with a version."""
    name = re.sub(r"[^\w-]+", "-", folder.resolve().name)
    return name if re.search(r"-v\d+$", name) else f"{name}-v0"


def _buffers(table: OpenTable, episodes: Episodes, written: WrittenEpisodes, buffer_class: Any) -> Iterator[Any]:
    groups = trees(table.schema)
    for batch in table:
        for episode in episodes.add(batch):
            written.episodes += 1
            written.steps += len(episode) - 1
            yield _buffer(table, groups, episode, buffer_class)


def _buffer(table: OpenTable, groups: dict[str, Tree], episode: Any, buffer_class: Any) -> Any:
    """The episode as Minari has it: T + 1 observations, T of everything else, T + 1 infos."""
    steps = episode.slice(0, len(episode) - 1)
    observation = leaves_of(groups["observation"], episode.column("observation"))
    action = leaves_of(groups["action"], steps.column("action"))
    terminated, truncated = (steps.column(name).to_numpy(zero_copy_only=False).copy() for name in ("terminated", "truncated"))
    truncated[-1] |= not terminated[-1]  # an episode that was cut behind its last good step
    return buffer_class(
        observations=as_space(table.schema.observation_space, observation, "observation"),
        actions=as_space(table.schema.action_space, action, "action"),
        rewards=steps.column("reward").to_numpy(),
        terminations=terminated,
        truncations=truncated,
        infos=_infos(groups, steps),
    )


def _infos(groups: dict[str, Tree], steps: Any) -> dict[str, Any]:
    infos: dict[str, Any] = {name: _behind_reset(steps.column(name).to_numpy()) for name in INFO_COLUMNS}
    kinds = [KIND_NUMBERS.get(name, 0) for name in steps.column("end_kind").to_pylist()]
    infos["end_kind"] = _behind_reset(np.array(kinds, np.uint8))
    if "extras" in groups:
        found = leaves_of(groups["extras"], steps.column("extras"))
        infos["extras"] = {name: _behind_reset(values) for name, values in found.items() if values.dtype != object}
    return infos


def _behind_reset(values: np.ndarray) -> np.ndarray:
    """[T, ...] as [T + 1, ...]: the info of the reset holds zeros."""
    return np.concatenate([np.zeros((1, *values.shape[1:]), values.dtype), values])


def as_space(space: gym.Space[Any], columns: Columns, name: str) -> Any:
    """Leaves [T, ...] nested as the space is, in its dtypes."""
    if isinstance(space, gym.spaces.Dict):
        return {key: as_space(inner, columns, f"{name}.{key}") for key, inner in space.spaces.items()}
    if isinstance(space, gym.spaces.Tuple):
        return tuple(as_space(inner, columns, f"{name}.{index}") for index, inner in enumerate(space.spaces))
    return columns[name].astype(space.dtype, copy=False)
