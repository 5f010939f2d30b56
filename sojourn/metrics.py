"""Every Prometheus series that Sojourn exports, in one list, and the endpoint that serves them.

A role makes one `Metrics(role)`; it holds exactly the series that `SERIES` lists for that role, in a registry of its own.
Labels come from small fixed sets. docs/metrics.md describes each series; a test compares both ways against live roles.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

Kind = Literal["counter", "gauge", "histogram"]
Role = Literal["replay", "parameters", "actor", "evaluator", "learner"]

LATENCY_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
DURATION_S = (0.0001, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
LAG_VERSIONS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
END_KINDS = ("completed", "killed", "failed", "aborted", "crashed")


@dataclass(frozen=True)
class Series:
    """One exported series. Counters are named without `_total`, which the client library adds."""

    name: str
    kind: Kind
    roles: tuple[Role, ...]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_S


SERIES: tuple[Series, ...] = (
    # every role
    Series(
        "sojourn_up_since_seconds",
        "gauge",
        ("replay", "parameters", "actor", "evaluator", "learner"),
        "Unix time at which this life of the role began.",
    ),
    # replay
    # parameters
    # actors
    # evaluator
    # learner
)


class Metrics:
    """The series of one role. `counter`, `gauge` and `histogram` return the series by name; asking for another raises KeyError."""

    def __init__(self, role: Role, registry: CollectorRegistry | None = None) -> None:
        self.role = role
        self.registry = registry or CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for series in SERIES:
            if role in series.roles:
                self._make(series)
        self.gauge("sojourn_up_since_seconds").set_to_current_time()

    def _make(self, series: Series) -> None:
        match series.kind:
            case "counter":
                self._counters[series.name] = Counter(series.name, series.help, series.labels, registry=self.registry)
            case "gauge":
                self._gauges[series.name] = Gauge(series.name, series.help, series.labels, registry=self.registry)
            case "histogram":
                self._histograms[series.name] = Histogram(
                    series.name, series.help, series.labels, registry=self.registry, buckets=series.buckets
                )

    def counter(self, name: str) -> Counter:
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def serve(self, host: str, port: int) -> int:
        """Serve the registry over HTTP on a daemon thread; port 0 takes any free one. Returns the port."""
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(server.server_port)


def names_of(role: Role) -> Sequence[str]:
    """Names of the series that the role exports."""
    return [series.name for series in SERIES if role in series.roles]
