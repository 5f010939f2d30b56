"""Which rows are there? By name, in the order of the table in docs/duration.md."""

from sojourn.bench.row import Row
from sojourn.bench.rows import (
    drift,
    first_of_many,
    fleets,
    gates,
    normalising,
    places,
    renewal,
    rings,
    semi_markov,
    staleness,
    time_share,
    windows,
)

MODULES = (renewal, time_share, fleets, windows, rings, drift, staleness, gates, first_of_many, places, normalising, semi_markov)

ROWS: dict[str, Row] = {row.name: row for module in MODULES for row in module.ROWS}
