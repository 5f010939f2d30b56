"""Where did items come from? Asked of the archive, and for the rest of live services or of an ended run's files. Blocks; only reads."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from protos import replay_pb2 as pb
from protos.replay_pb2_grpc import ReplayStub
from replay.archive import archive_files, archive_folder, lives_in, read_archive
from replay.client_records import Identity
from replay.lineage import Lineage
from replay.link import LARGEST_MESSAGE_BYTES, our_errors
from replay.stored_shard import stored_shard
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import ConfigError, ContractError
from sojourn.roles import Address, replay_shards
from sojourn.rpc import channel_options
from sojourn.run_folder import locked

KEYS_PER_CALL = 2_000
COLUMNS = ("row_number", "actor", "incarnation", "lane", "sequence", "episode", "policy_version", "duration_s")


def origins(run_folder: Path, config: Config, run_id: str, keys: Iterable[int], shard: int = 0) -> dict[int, Lineage]:
    """Of those items of a shard whose first rows are kept anywhere, by key. A run of which nothing is kept gives nothing.

    Raises CheckpointError for a damaged archive, UnavailableError where services of a live run cannot be reached.
    """
    wanted = sorted(set(keys))
    found = {item.key: item for item in _archived(run_folder, wanted, shard)}
    if missing := [key for key in wanted if key not in found]:
        with suppress(ConfigError, ContractError):  # level `memory`, or nothing was kept: the archive has said all there is
            found |= {item.key: item for item in _kept(run_folder, config, run_id, missing, shard)}
    return found


def _kept(run_folder: Path, config: Config, run_id: str, keys: Sequence[int], shard: int) -> list[Lineage]:
    with locked(run_folder) as ended:
        if not ended or config.replay.addresses:
            here = replay_shards(config, run_folder).here
            return live_origins(here[shard], config.learners.table, keys) if shard in here else []
        with stored_shard(config, run_folder, run_id, shard) as stored:
            return stored.origins(Schema.from_json(stored.schema_json), keys) if stored.schema_json else []


def live_origins(address: Address, table: str, keys: Sequence[int], timeout_s: float = 60.0) -> list[Lineage]:
    """What a service says. Raises as a call does; ContractError at level `memory`."""
    found = []
    with grpc.insecure_channel(address(), options=channel_options(LARGEST_MESSAGE_BYTES)) as channel, our_errors():
        for at in range(0, len(keys), KEYS_PER_CALL):
            request = pb.LineageRequest(table=table, keys=keys[at : at + KEYS_PER_CALL])
            found += [_told(item) for item in ReplayStub(channel).Lineage(request, timeout=timeout_s).items]
    return found


def _told(item: pb.ItemLineage) -> Lineage:
    identity = Identity(
        role="actor",
        host=item.host,
        environment_id=item.environment_id,
        environment_version=item.environment_version,
        seed=item.seed,
    )
    return Lineage(
        key=item.key,
        client_id=item.client_id,
        incarnation=item.incarnation,
        lane=item.lane,
        episode=item.episode,
        lane_sequence=item.lane_sequence,
        policy_version=item.policy_version,
        duration_s=item.duration_s,
        identity=identity,
    )


def _archived(run_folder: Path, keys: Sequence[int], shard: int) -> list[Lineage]:
    wanted, found = np.array(keys, np.int64), []
    for file in archive_files(archive_folder(run_folder), shard):
        here = wanted[(wanted >= file.first_row) & (wanted <= file.last_row)]
        if len(here):
            lives = {stream: Identity(**said["identity"]) for stream, said in lives_in(file).items()}
            table = read_archive(file, COLUMNS)
            numbers = table.column("row_number").to_numpy()
            for row in table.take(np.flatnonzero(np.isin(numbers, here))).to_pylist():
                if row["policy_version"] is not None:  # else it closes an episode, and no item begins there
                    found.append(_of_row(row, lives[(row["actor"], row["incarnation"])]))
    return found


def _of_row(row: dict[str, Any], identity: Identity) -> Lineage:
    return Lineage(
        key=row["row_number"],
        client_id=row["actor"],
        incarnation=row["incarnation"],
        lane=row["lane"],
        episode=row["episode"],
        lane_sequence=row["sequence"],
        policy_version=row["policy_version"],
        duration_s=row["duration_s"],
        identity=identity,
    )
