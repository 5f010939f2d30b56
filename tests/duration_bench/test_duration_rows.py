"""Every row of `sojourn bench duration`, at reduced size, through the real service and clients."""

import pytest

from sojourn.bench.duration import measure
from sojourn.bench.rows import ROWS


@pytest.mark.parametrize("name", ROWS)
def test_a_row_agrees_with_its_exact_values(name):
    outcome = measure(ROWS[name], seed=1, quick=True)

    assert [verdict for verdict in outcome.verdicts if not verdict.agrees] == []
