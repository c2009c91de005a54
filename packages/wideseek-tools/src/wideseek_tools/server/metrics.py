"""What the retrieval server counts, for Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from wideseek_tools.batching import Batcher
from wideseek_tools.passages import Hit

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """One server's figures."""

    def __init__(self, batcher: Batcher[tuple[str, int], list[Hit]]) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "wideseek_requests", "Requests by route and status.", ["route", "status"],
            registry=self._registry,
        )  # fmt: skip
        self._counters: dict[tuple[str, int], Counter] = {}
        """Looking up labels costs as much as a search."""
        self._seconds = Histogram(
            "wideseek_request_seconds", "Time to answer.", ["route"],
            registry=self._registry, buckets=SECONDS,
        )  # fmt: skip
        waiting = Gauge("wideseek_waiting", "Queries waiting.", registry=self._registry)
        waiting.set_function(lambda: batcher.waiting)
        for name, text in (
            ("batches", "Batches run."),
            ("keys", "Queries run in batches."),
            ("joined", "Queries that shared the result of an equal one in flight."),
        ):
            gauge = Gauge(f"wideseek_search_{name}", text, registry=self._registry)
            gauge.set_function(lambda name=name: float(getattr(batcher, name)))

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Counts one request."""
        if (route, status) not in self._counters:
            self._counters[route, status] = self._requests.labels(route, str(status))
        self._counters[route, status].inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)
