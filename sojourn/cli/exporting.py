"""`sojourn export`: write a run's experience as Parquet or as a Minari dataset, while it goes on or afterwards."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sojourn.cli.arguments import RunName
from sojourn.run_folder import find_run


class Form(StrEnum):
    """What can be written."""

    PARQUET = "parquet"
    MINARI = "minari"


Output = Annotated[Path, typer.Option("--output", "-o", help="Folder to write into: a new or an empty one.")]
FormOption = Annotated[
    Form, typer.Option("--format", help="parquet: every row, for DuckDB, Polars, pandas. minari: whole episodes.")
]
TableName = Annotated[str, typer.Option("--table", help="Which table. Default: the one that the learner draws from.")]


def export_run(output: Output, run: RunName = None, form: FormOption = Form.PARQUET, table: TableName = "") -> None:
    """Write a run's experience into files that other tools read. The run goes on meanwhile; an ended run is read from its files."""
    from sojourn.launcher.exporting import export

    exported = export(find_run(run), form.value, output, table)
    typer.echo(f"{output}  {exported.steps:,} steps of table {exported.table}")
    for line in exported.lines:
        typer.echo(f"  {line}")
    if exported.missing_rows:
        typer.echo(f"  {exported.missing_rows:,} rows in between had been let go")
