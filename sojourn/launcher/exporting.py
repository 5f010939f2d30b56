"""How does a run's experience get into files (docs/data.md)? Reads the run's services, or an ended run's files; writes a folder; blocks."""

from dataclasses import dataclass
from pathlib import Path

from replay.open_table import OpenTable, open_table
from sojourn.readable import size
from sojourn.run_folder import run_config


@dataclass(frozen=True)
class Exported:
    """What was written. missing_rows: row numbers between the first and the last that are not there any more.

    lines: what else a person should know.
    """

    table: str
    steps: int
    missing_rows: int
    lines: tuple[str, ...] = ()


def export(run_folder: Path, form: str, folder: Path, table: str = "") -> Exported:
    """Write a table of a live or ended run into a folder that is empty or not there. form: "parquet" or "minari".

    Raises ConfigError, CheckpointError, UnavailableError and ContractError, as `open_table` and the writers say.
    """
    write = {"parquet": _parquet, "minari": _minari}[form]
    return write(run_folder, folder, table)


def _parquet(run_folder: Path, folder: Path, name: str) -> Exported:
    from replay.write_parquet import write_parquet

    with open_table(run_folder, name) as table:
        files = write_parquet(table, folder)
        written = size(sum(file.stat().st_size for file in files))
        return _told(table, f"{len(files)} file{'s' if len(files) > 1 else ''}, {written}")


def _minari(run_folder: Path, folder: Path, name: str) -> Exported:
    from replay.write_minari import write_minari

    environment_id = run_config(run_folder).environment.id
    with open_table(run_folder, name) as table:
        written = write_minari(table, folder, environment_id)
        left_out = [f"{written.unfinished_steps:,} steps of episodes under way"] * (written.unfinished_steps > 0)
        left_out += [f"{written.cut_steps:,} steps of episodes whose beginning or middle is gone"] * (written.cut_steps > 0)
        lines = [f"{written.episodes:,} episodes of {written.steps:,} steps", *(f"left out: {what}" for what in left_out)]
        return _told(table, *lines)


def _told(table: OpenTable, *lines: str) -> Exported:
    return Exported(table.name, table.steps, table.missing_rows, lines)
