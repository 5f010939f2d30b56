"""The exact values of rows that have no closed form, against the rule simulated alone."""

import heapq
import random

import pytest

from sojourn.bench.rows.staleness import BATCH, DROPPED, LANES, MEANS_S, P_SLOW

UPDATES, WARM_UP = 4_000, 50


@pytest.mark.parametrize("most_lag", DROPPED)
def test_the_share_under_dropping_is_that_of_the_rule_simulated_alone(most_lag):
    """No service, no clients: a heap of ends. Its standard error is 0.001."""
    chance, version, accepted, slow_used, used = random.Random(most_lag), 0, 0, 0, 0
    running: list[tuple[float, int, int]] = []  # end, whether slow, version at the start

    def start(now_s: float) -> None:
        slow = int(chance.random() < P_SLOW)
        heapq.heappush(running, (now_s + chance.expovariate(1.0 / MEANS_S[slow]), slow, version))

    for _ in range(LANES):
        start(0.0)
    while version < UPDATES:
        now_s, slow, then = heapq.heappop(running)
        if version - then <= most_lag:
            accepted += 1
            slow_used += slow * (version >= WARM_UP)
            used += version >= WARM_UP
        if accepted == BATCH:
            accepted, version = 0, version + 1
        start(now_s)

    assert slow_used / used == pytest.approx(DROPPED[most_lag], abs=0.004)
