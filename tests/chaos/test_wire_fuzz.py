"""Does the service live, and leave others alone, whatever is sent to it?"""

from sojourn.bench.fuzz.run import fuzz

SECONDS = 6.0  # a thousand cases on a machine that others use; `sojourn bench fuzz` goes on for longer


def test_spoilt_messages_on_every_call_harm_nobody():
    report = fuzz(SECONDS, seed=4)

    assert report.complaints == []
    assert {status.split()[0] for status in report.statuses} >= {"Hello", "Insert", "Sample", "Heartbeat", "Export"}
