"""Which rows are there? By name, in the order of the table in docs/duration.md."""

from sojourn.bench.row import Row
from sojourn.bench.rows import first_of_many, fleets, normalising, renewal, rings, time_share, windows

ROWS: dict[str, Row] = {
    row.name: row
    for module in (renewal, time_share, fleets, windows, rings, first_of_many, fleets, normalising)
    for row in module.ROWS
}
