"""What is in a table, for people and their tools? Opens a table of a live or ended run as Arrow record batches. Blocks; only reads.

A live run's services are asked, an ended run's files are read. One chunk (about 256 KiB) is in hand at a time, so that neither the
service nor the reader grows with the table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from replay.exported import ExportedRows, exported_rows
from replay.service_info import service_info
from replay.stored_shard import stored_shard
from replay.table_columns import TableColumns
from sojourn.columns import Schema
from sojourn.config import Config
from sojourn.errors import ConfigError, UnavailableError
from sojourn.roles import Address, replay_shards
from sojourn.run_folder import locked, read_run, run_config
from sojourn.shard_list import ShardList, read_shard_list


class OpenShard(Protocol):
    """A shard whose chunks can be read. schema_json: empty if no actor ever said hello."""

    @property
    def schema_json(self) -> bytes: ...
    def rows(self, schema: Schema, table: str) -> Iterator[ExportedRows]: ...


Opening = Callable[[], AbstractContextManager[OpenShard]]


@dataclass(frozen=True)
class LiveShard:
    """A shard that a service serves."""

    address: Address
    schema_json: bytes

    def rows(self, schema: Schema, table: str) -> Iterator[ExportedRows]:
        return exported_rows(self.address, schema, table)


class GoneShard:
    """One that was empty and has left the run."""

    schema_json = b""

    def rows(self, schema: Schema, table: str) -> Iterator[ExportedRows]:
        return iter(())


class OpenTable:
    """One table, read once from its first row to its last: `for batch in table`.

    schema: the experience schema.  arrow_schema: of the batches (docs/data.md).
    rows, steps: read so far.  missing_rows: row numbers between them that are not there: let go before or while this was read, or damaged.
    """

    def __init__(self, name: str, shards: Sequence[Opening], stack: ExitStack) -> None:
        """Opens shards until one tells the schema. Raises UnavailableError if none does."""
        self.name = name
        self.rows = self.steps = self.missing_rows = 0
        self._shards, self._stack, self._at = shards, stack, 0
        self._shard = self._next_open()
        self.schema = Schema.from_json(self._shard.schema_json)
        self._columns = TableColumns(self.schema)
        self.arrow_schema = self._columns.arrow_schema

    def _next_open(self) -> OpenShard:
        while self._at < len(self._shards):
            shard = self._stack.enter_context(self._shards[self._at]())
            self._at += 1
            if shard.schema_json:
                return shard
            self._stack.pop_all().close()
        raise UnavailableError("no actor has inserted anything yet, so there is no table to open")

    def __iter__(self) -> Iterator[Any]:
        """pyarrow.RecordBatch after pyarrow.RecordBatch, of one chunk each, shard by shard."""
        while True:
            yield from self._of_shard()
            self._stack.pop_all().close()
            try:
                self._shard = self._next_open()
            except UnavailableError:
                return

    def _of_shard(self) -> Iterator[Any]:
        expected = 0
        for chunk in self._shard.rows(self.schema, self.name):
            self.missing_rows += chunk.first_row - expected if expected else 0
            expected = chunk.next_row
            self.rows += len(chunk.rows)
            self.steps += chunk.rows.steps
            yield self._columns.record_batch(chunk, self._at - 1)


@contextmanager
def open_table(run_folder: Path, table: str = "") -> Iterator[OpenTable]:
    """Open a table of a run. table: "" is the one that the learner draws from.

        with open_table(Path("runs/NAME")) as table:
            for batch in table: ...

    An ended run cannot be resumed meanwhile. Raises ConfigError for what is no run, has no such table or kept nothing,
    UnavailableError if services cannot be reached or nothing was inserted, ContractError for a live run at level `memory`.
    """
    config, identity = run_config(run_folder), read_run(run_folder)
    name = table or config.learners.table
    if name not in config.tables:
        raise ConfigError(f"{run_folder} has no table {name!r}; there are {', '.join(config.tables)}")
    with locked(run_folder) as ended, ExitStack() as stack:
        served = not ended or bool(config.replay.addresses)
        yield OpenTable(name, _live(config, run_folder) if served else _stored(config, run_folder, identity.run_id), stack)


def _live(config: Config, run_folder: Path) -> list[Opening]:
    shards = replay_shards(config, run_folder)
    return _by_number(len(shards.addresses), {shard: partial(live_shard, address) for shard, address in shards.here.items()})


@contextmanager
def gone_shard() -> Iterator[GoneShard]:
    yield GoneShard()


@contextmanager
def live_shard(address: Address) -> Iterator[LiveShard]:
    yield LiveShard(address, service_info(address).schema_json)


def _stored(config: Config, run_folder: Path, run_id: str) -> list[Opening]:
    listed = read_shard_list(run_folder) or ShardList(config.replay.shards, config.replay.shards)
    return _by_number(listed.known, {shard: partial(stored_shard, config, run_folder, run_id, shard) for shard in listed.here})


def _by_number(known: int, here: Mapping[int, Opening]) -> list[Opening]:
    """Of all shards, those that have left the run as well."""
    return [here.get(shard, gone_shard) for shard in range(known)]
