"""Does the service live, and leave others alone, whatever is sent to it?"""

import pytest

from sojourn.bench.fuzz.run import fuzz

SECONDS = 15.0


@pytest.mark.timeout(120)
def test_spoilt_messages_on_every_call_harm_nobody():
    report = fuzz(SECONDS, seed=4)

    assert report.complaints == []
    assert {status.split()[0] for status in report.statuses} >= {"Hello", "Insert", "Sample", "Heartbeat", "Export"}
