"""What does an exported folder of Parquet files give a run to begin with? Reads files; no network, no clock, no randomness."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from replay.arrow import stored_columns
from replay.episodes import Lane, Run, runs_of
from replay.initial_experience import check_spaces, fingerprint_of, pieces
from replay.nested_columns import leaves_of, trees
from replay.table_columns import schema_of_table
from replay.write_minari import KIND_NUMBERS
from sojourn.columns import Column, Schema
from sojourn.errors import ConfigError, ContractError
from sojourn.experience import Columns, Segment

BATCH_ROWS = 4096


class ParquetSource:
    """Files that `sojourn export --format parquet` wrote."""

    lacks_durations = False

    def __init__(self, name: str, files: list[Path]) -> None:
        self._name, self._files = name, files
        self.fingerprint = fingerprint_of(files)
        try:
            schemas = [schema_of_table(pq.read_schema(file)) for file in files]
        except (ContractError, pa.ArrowException, OSError) as error:
            raise ConfigError(f"replay.initial: {name} cannot be read: {error}") from error
        if any(schema != schemas[0] for schema in schemas):
            raise ConfigError(f"replay.initial: the files of {name} are of different runs: give each export a folder of its own")
        self._schema = schemas[0]

    def check(self, schema: Schema) -> None:
        check_spaces(self._name, schema, self._schema.observation, self._schema.action)
        theirs = {column.name: column for column in stored_columns(self._schema)}
        for ours in stored_columns(schema):
            found = theirs.get(ours.name)
            if found is None or _layout(found) != _layout(ours):
                there = "not there" if found is None else f"{_layout(found)} there"
                raise ConfigError(
                    f"replay.initial: column {ours.name!r} of {self._name} is {there}, and this run's is {_layout(ours)}"
                )

    def segments(self, schema: Schema, assumed_duration_s: float) -> Iterator[Segment]:
        lanes: dict[Lane, int] = {}
        for file in self._files:
            for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
                for run in runs_of(batch):
                    yield from pieces(self._steps(schema, run, lanes.setdefault(run.lane, len(lanes))), schema)

    def _steps(self, schema: Schema, run: Run, lane: int) -> Segment:
        """All rows of a run as one segment; one that is not closed has its last observation twice, of which one travels."""
        values = {name: leaves_of(tree, run.rows.column(name)) for name, tree in trees(self._schema).items()}
        steps = len(run.rows) - run.closed
        rows = run.rows.slice(0, steps)
        observation = values["observation"]
        if not run.closed:
            observation = {name: np.concatenate([leaf, leaf[-1:]]) for name, leaf in observation.items()}
        duration_s = rows.column("duration_s").to_numpy(zero_copy_only=False)
        return Segment(
            lane=lane,
            first_sequence=run.first,
            episode=run.episode,
            observation=observation,
            action=_first(values["action"], steps),
            reward=rows.column("reward").to_numpy(zero_copy_only=False),
            terminated=rows.column("terminated").to_numpy(zero_copy_only=False),
            truncated=rows.column("truncated").to_numpy(zero_copy_only=False),
            duration_s=duration_s,
            started_at_s=-duration_s,
            end_kind=np.array([KIND_NUMBERS.get(name, 0) for name in rows.column("end_kind").to_pylist()], np.uint8),
            log_prob=rows.column("log_prob").to_numpy(zero_copy_only=False),
            policy_version=np.zeros(steps, np.int64),
            closed=run.closed,
            extras=_first({column.name: values["extras"][column.name] for column in schema.extras}, steps),
            core_state=_first(values.get("core_state", {}), steps),
        )


def _first(leaves: Columns, steps: int) -> Columns:
    return {name: leaf[:steps] for name, leaf in leaves.items()}


def _layout(column: Column) -> str:
    return f"{column.dtype}{list(column.shape)}" + (f" ragged({column.ragged_max})" if column.ragged_max else "")
