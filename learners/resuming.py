"""How a learner goes on from a checkpoint of its run, or starts from another run's policy. Reads files once, at the start."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from learners import random_state
from learners.checkpoints import Checkpoint, Checkpoints
from sojourn.algorithms import Algorithm
from sojourn.checkpoint_folders import METADATA_FILE, POLICY_FILE, DamagedError, read_whole
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import CheckpointError, ConfigError, ContractError
from sojourn.storage import Storage

LOG = logging.getLogger("sojourn.learners")


def resume(algorithm: Algorithm, checkpoint: Checkpoint, *, run_id: str, name: str, schema: Schema) -> None:
    """Put an algorithm into the state of a checkpoint.

    name: of the configured algorithm.  Raises CheckpointError, naming the difference, if it is of another run, algorithm,
    experience or network.
    """
    where = f"the checkpoint at learner step {checkpoint.learner_step:,}"
    for what, there, here in (
        ("run", checkpoint.run_id, run_id),
        ("algorithm", checkpoint.algorithm, name),
        *_spaces(checkpoint.schema, schema),
    ):
        if there != here:
            raise CheckpointError(
                f"{where} is of another {what}: {there} there, {here} here; start a new run, with run.init_from"
            )
    try:
        algorithm.policy.load(checkpoint.policy)
        algorithm.load_state(checkpoint.state)
        continued = random_state.restore(dict(checkpoint.random), algorithm.generator)
    except (ContractError, KeyError, ValueError, TypeError) as error:
        raise CheckpointError(f"{where} does not fit this configuration: {error}; was the network changed?") from error
    if not continued:
        LOG.warning("%s was made on another kind of device: random numbers start from the seed", where)


def _spaces(there: Schema, here: Schema) -> list[tuple[str, Any, Any]]:
    """What a policy is made for, to compare."""
    return [
        ("observation space", there.policy_observation_space, here.policy_observation_space),
        ("action space", there.action_space, here.action_space),
    ]


def start_from(algorithm: Algorithm, location: str, config: Config) -> None:
    """Take over the policy of another run: its normalisers and networks; critics and optimisers start afresh.

    location: a run's folder (its best policy, or its latest checkpoint if there is no best one yet) or a checkpoint's.
    Raises ConfigError, naming the difference, if there is none or it does not fit.
    """
    try:
        metadata, policy = read_policy(location)
    except CheckpointError as error:
        raise ConfigError(f"run.init_from: {error}") from error
    if metadata.get("algorithm", config.algorithm.name) != config.algorithm.name:
        raise ConfigError(
            f"run.init_from: {location} was trained by {metadata['algorithm']}, this run by {config.algorithm.name}; "
            f"write algorithm: {metadata['algorithm']}"
        )
    try:
        algorithm.policy.load(policy)
    except ContractError as error:
        raise ConfigError(f"run.init_from: the policy of {location} does not fit this run: {error}") from error
    algorithm.adopt_policy()
    LOG.info("starts from the policy of %s", location)


def read_policy(location: str) -> tuple[dict[str, Any], bytes]:
    """Metadata and tensors of a policy in a run's or a checkpoint's folder. Raises CheckpointError if there is none or it is damaged."""
    path = Path(location)
    checkpoints = path / "checkpoints"
    if not checkpoints.is_dir():
        return _policy_in(path)
    if (checkpoints / "best").is_dir():
        return _policy_in((checkpoints / "best").resolve())
    newest = Checkpoints(checkpoints, keep=1).newest()
    if newest is None:
        raise CheckpointError(f"{location} has no checkpoint yet")
    return {"algorithm": newest.algorithm}, newest.policy


def _policy_in(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Of a checkpoint, or of a best policy, whose metadata has the checksum of its only file."""
    storage = Storage(folder.parent)
    try:
        metadata = json.loads(storage.read(folder.name, METADATA_FILE))
    except ValueError as error:
        raise DamagedError(f"{folder}/{METADATA_FILE} is cut short: {error}") from error
    if "components" in metadata:
        return metadata, read_whole(storage, folder.name)[1][POLICY_FILE]
    content = storage.read(folder.name, POLICY_FILE)
    if hashlib.sha256(content).hexdigest() != metadata.get("sha256"):
        raise DamagedError(f"{folder}/{POLICY_FILE} is not what was written: its checksum is wrong")
    return metadata, content
