"""What does a learner write down of what it learns from, and what must be the same to learn it again?

Nothing here waits, but for `sync` and `close`, which wait for the disk (replay/manifest_writer.py has a thread).
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from learners.batches import value_weight
from replay.client import ManifestWriter, TrainedBatch, lineage_folder
from sojourn.algorithms import Algorithm
from sojourn.algorithms.base import weighs_policy_only
from sojourn.algorithms.processor import products
from sojourn.config import Config
from sojourn.errors import CheckpointError
from sojourn.experience import Batch, Columns
from sojourn.metrics import Metrics

SYNC_S = 5.0
DIGITS = 16  # of a tensor's sha256: 64 bits
SECTIONS: Any = {  # of the configuration: what an update depends on, and nothing that could hold a secret
    "run": {"seed", "env_steps", "init_from"},
    "environment": {"normalise_observation", "normalise_reward", "frame_stack"},
    "duration": True,
    "objective": True,
    "reward_timing": True,
    "algorithm": True,
    "network": True,
    "tables": True,
    "learners": True,
}

LOG = logging.getLogger("sojourn.learners")


class LearnerLineage:
    """One life's part of the run's manifest. `trained` and `published` cost microseconds."""

    def __init__(self, writer: ManifestWriter, config: Config, metrics: Metrics) -> None:
        self._writer = writer
        self._full = config.lineage == "full"
        self._policy_only = weighs_policy_only(config.tables[config.learners.table])
        self._lost = metrics.gauge("sojourn_learner_lineage_lost_updates")

    def trained(self, learner_step: int, batch: Batch, key: np.ndarray, shard: np.ndarray) -> None:
        """An update was made from this batch. key, shard: int64 of all items, those of other ranks' batches included."""
        more: Columns = {}
        if shard.any():
            more["shard"] = shard.astype(np.uint16)
        if self._full:
            more["loss_weight"] = batch.loss_weight
            if self._policy_only:
                more["value_weight"] = value_weight(batch)
        self._writer.batch(TrainedBatch(learner_step, key.astype(np.uint64), **more))

    def published(self, learner_step: int, policy_version: int, tensors: bytes) -> None:
        """The policy after `learner_step` has its version."""
        self._writer.version(learner_step, policy_version, partial(tensor_digests, tensors))

    def sync(self) -> None:
        """Before a checkpoint: nothing that it holds is missing in the manifest afterwards."""
        if not self._writer.sync(SYNC_S):
            LOG.warning("the lineage is more than %.0f s behind: its disk is slow", SYNC_S)
        self._lost.set(self._writer.lost_updates)

    def close(self) -> None:
        self._writer.close()


def open_lineage(
    config: Config, run_folder: Path, run_id: str, algorithm: Algorithm, device: torch.device, metrics: Metrics
) -> LearnerLineage | None:
    """Begin a life's lineage as `config.lineage` says; None, with a warning, if the folder cannot be written."""
    if config.lineage == "off":
        return None
    try:
        writer = ManifestWriter(
            lineage_folder(run_folder),
            run_id=run_id,
            learner_step=algorithm.learner_step,
            full=config.lineage == "full",
            facts=facts_of(config, device),
        )
    except CheckpointError as error:
        LOG.warning("nothing is written down of what this learner is trained on: %s", error)
        return None
    return LearnerLineage(writer, config, metrics)


def facts_of(config: Config, device: torch.device) -> dict[str, Any]:
    """What a repetition must have alike: settings, the library, threads, kind of processor, who multiplies. Ready for JSON."""
    return {
        "config": json.loads(config.model_dump_json(include=SECTIONS)),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device.type,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "products": products(),
    }


def tensor_digests(content: bytes) -> Mapping[str, str]:
    """By tensor name of safetensors bytes: the first sixteen hexadecimal digits of sha256 over dtype, shape and values.

    The form is a little-endian uint64 size, so many bytes of JSON, then the values at the offsets that it names.
    """
    size = int.from_bytes(content[:8], "little")
    values = memoryview(content)[8 + size :]
    digests = {}
    for name, entry in sorted(json.loads(content[8 : 8 + size]).items()):
        if name != "__metadata__":
            found = hashlib.sha256(f"{entry['dtype']} {entry['shape']} ".encode())
            found.update(values[slice(*entry["data_offsets"])])
            digests[name] = found.hexdigest()[:DIGITS]
    return digests
