"""How does a checkpoint's folder look, and which is the newest that is whole? Reading and checking only; blocking I/O, no torch.

RUN/checkpoints/step_000000012000/
    policy.safetensors      what is published: networks and normalisers
    algorithm.safetensors   everything else that learning goes on from: critics, targets, temperature, optimiser moments
    rng.json                states of the random generators
    metadata.json           what it is, and size and sha256 of each file; written last
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from sojourn.errors import CheckpointError
from sojourn.storage import Storage

FORMAT_VERSION = 1
POLICY_FILE, STATE_FILE, RANDOM_FILE, METADATA_FILE = "policy.safetensors", "algorithm.safetensors", "rng.json", "metadata.json"

LOG = logging.getLogger(__name__)

Read = TypeVar("Read")


class DamagedError(CheckpointError):
    """A checkpoint is incomplete or its content is not what was written."""


def folder_name(learner_step: int) -> str:
    """ "step_000000012000"."""
    return f"step_{learner_step:012d}"


def step_folders(storage: Storage) -> list[str]:
    """Of checkpoints, oldest first; other folders (the best policy) are left out."""
    return [name for name in storage.folders() if re.fullmatch(r"step_\d{12}", name)]


def newest_readable(storage: Storage, read: Callable[[str], Read]) -> Read | None:
    """What `read` makes of the newest folder that is not damaged; None if there never was a checkpoint.

    read: raises DamagedError for a folder that it cannot use; that one is passed over with a warning.
    Raises CheckpointError if all are damaged, or one is of another format.
    """
    damaged: list[str] = []
    for folder in reversed(step_folders(storage)):
        try:
            return read(folder)
        except DamagedError as error:
            LOG.warning("checkpoint passed over: %s", error)
            damaged.append(str(error))
    if damaged:
        raise CheckpointError(
            f"no checkpoint in {storage.location} can be read ({damaged[0]}); remove them to start at learner step 0"
        )
    return None


def read_whole(storage: Storage, folder: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Metadata and files of a checkpoint, every byte checked. Raises DamagedError or CheckpointError."""
    where = f"{storage.location}/{folder}"
    try:
        metadata = json.loads(storage.read(folder, METADATA_FILE))
        version, components = metadata["format_version"], metadata["components"]
    except CheckpointError as error:
        raise DamagedError(str(error)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{where}/{METADATA_FILE} is cut short or no checkpoint's: {error!r}") from error
    if version != FORMAT_VERSION:
        raise CheckpointError(f"{where} has format {version}, this version of sojourn reads {FORMAT_VERSION}")
    return metadata, {part["file"]: _checked(storage, folder, part) for part in components}


def _checked(storage: Storage, folder: str, component: Mapping[str, Any]) -> bytes:
    name = component["file"]
    try:
        content = storage.read(folder, name)
    except CheckpointError as error:
        raise DamagedError(str(error)) from error
    where = f"{storage.location}/{folder}/{name}"
    if len(content) != component["bytes"]:
        raise DamagedError(f"{where} has {len(content)} bytes, {component['bytes']} were written")
    if hashlib.sha256(content).hexdigest() != component["sha256"]:
        raise DamagedError(f"{where} is not what was written: its checksum is wrong")
    return content
