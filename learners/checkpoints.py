"""Checkpoints of a learner: what is in one, how it is written and found again. Blocking I/O; format without pickle.

The folders are those of sojourn/checkpoint_folders.py.
"""

import hashlib
import json
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from torch import Tensor

import sojourn
from sojourn.algorithms.tensors import from_bytes, to_bytes
from sojourn.checkpoint_folders import (
    FORMAT_VERSION,
    METADATA_FILE,
    POLICY_FILE,
    RANDOM_FILE,
    STATE_FILE,
    DamagedError,
    folder_name,
    newest_readable,
    read_whole,
    step_folders,
)
from sojourn.chosen_cut import ShardCut
from sojourn.columns import Schema
from sojourn.errors import ContractError
from sojourn.storage import Storage


@dataclass(frozen=True)
class Checkpoint:
    """Everything that a learner goes on from.

    env_steps: of the run, as the replay service counted them.  policy_version: the newest then allotted, 0 for none.
    publications: (learner step, policy version) since the checkpoint before.  schema: of the run's experience.
    cuts: of the replay tables, at the same point; their label is the folder's name.
    policy: safetensors bytes.  state: the algorithm's tensors.  random: see learners/random_state.py.
    """

    run_id: str
    algorithm: str
    learner_step: int
    env_steps: int
    policy_version: int
    schema: Schema
    policy: bytes
    state: Mapping[str, Tensor]
    random: Mapping[str, Any]
    publications: tuple[tuple[int, int], ...] = ()
    cuts: tuple[ShardCut, ...] = ()


class Checkpoints:
    """The checkpoints of one run, at most `keep` of them. One learner writes."""

    def __init__(self, location: Path | str, keep: int) -> None:
        self._storage = Storage(location)
        self._keep = keep

    def save(self, checkpoint: Checkpoint) -> None:
        """Write one, then remove the oldest beyond `keep`. Raises CheckpointError if it cannot be written; then all old ones stay."""
        files = {
            POLICY_FILE: checkpoint.policy,
            STATE_FILE: to_bytes(checkpoint.state),
            RANDOM_FILE: json.dumps(checkpoint.random).encode(),
        }
        metadata = {**_described(checkpoint), "components": [_component(name, content) for name, content in files.items()]}
        files[METADATA_FILE] = json.dumps(metadata, indent=2).encode()
        self._storage.replace_folder(folder_name(checkpoint.learner_step), files)
        for folder in step_folders(self._storage)[: -self._keep]:
            self._storage.remove_folder(folder)

    def newest(self) -> Checkpoint | None:
        """The newest one that is whole; None if there never was any.

        A damaged one is passed over with a warning. Raises CheckpointError if all are damaged, or one is of another format.
        """
        return newest_readable(self._storage, self.load)

    def load(self, folder: str) -> Checkpoint:
        """One by its folder's name. Raises DamagedError saying what is wrong with it, CheckpointError for another format."""
        metadata, files = read_whole(self._storage, folder)
        try:
            return Checkpoint(
                run_id=metadata["run_id"],
                algorithm=metadata["algorithm"],
                learner_step=metadata["learner_step"],
                env_steps=metadata["env_steps"],
                policy_version=metadata["policy_version"],
                schema=Schema.from_json(json.dumps(metadata["schema"]).encode()),
                policy=files[POLICY_FILE],
                state=from_bytes(files[STATE_FILE]),
                random=json.loads(files[RANDOM_FILE]),
                publications=tuple((step, version) for step, version in metadata["publications"]),
                cuts=tuple(ShardCut(**cut) for cut in metadata.get("cuts", ())),
            )
        except (KeyError, ValueError, TypeError, ContractError) as error:
            raise DamagedError(f"{self._storage.location}/{folder} lacks something: {error!r}") from error


def _component(name: str, content: bytes) -> dict[str, Any]:
    return {"file": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _described(checkpoint: Checkpoint) -> dict[str, Any]:
    """The metadata but for the components."""
    return {
        "format_version": FORMAT_VERSION,
        "run_id": checkpoint.run_id,
        "algorithm": checkpoint.algorithm,
        "learner_step": checkpoint.learner_step,
        "env_steps": checkpoint.env_steps,
        "policy_version": checkpoint.policy_version,
        "publications": checkpoint.publications,
        "cuts": [asdict(cut) for cut in checkpoint.cuts],
        "schema_fingerprint": checkpoint.schema.fingerprint,
        "schema": json.loads(checkpoint.schema.to_json()),
        "written_unix_s": time.time(),
        "libraries": {
            "sojourn": sojourn.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
        },
    }
