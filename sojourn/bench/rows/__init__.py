"""Which rows are there? By name, in the order of the table in docs/duration.md."""

from sojourn.bench.row import Row
from sojourn.bench.rows import first_of_many, normalising, renewal, time_share

ROWS: dict[str, Row] = {row.name: row for module in (renewal, time_share, first_of_many, normalising) for row in module.ROWS}
