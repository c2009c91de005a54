"""What the retrieval server counts, for Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Queue(Protocol):
    """What a batcher counts."""

    batches: int
    keys: int
    joined: int

    @property
    def waiting(self) -> int:
        """Calls that no batch has taken yet."""
        ...


class Metrics(Collector):
    """One server's figures.

    Plain counters, put into Prometheus' form when they are asked for: the library's own take locks
    and would cost as much as a tenth of a search.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._requests: Counter[tuple[str, int]] = Counter()
        self._buckets: Counter[tuple[str, int]] = Counter()
        self._seconds: dict[str, float] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def seen(self, route: str, status: int, seconds: float) -> None:
        """Counts one request. For the event loop's thread."""
        self._requests[route, status] += 1
        self._buckets[route, bisect_left(SECONDS, seconds)] += 1
        self._seconds[route] = self._seconds.get(route, 0.0) + seconds

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily | GaugeMetricFamily]:
        """Called by the registry."""
        requests = CounterMetricFamily(
            "wideseek_requests", "Requests by route and status.", labels=["route", "status"]
        )
        for (route, status), count in self._requests.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        times = HistogramMetricFamily(
            "wideseek_request_seconds", "Time to answer.", labels=["route"]
        )
        for route, total in self._seconds.items():
            times.add_metric([route], self._cumulated(route), total)
        yield times
        for name, text, value in (
            ("waiting", "Queries waiting.", self._queue.waiting),
            ("search_batches", "Batches run.", self._queue.batches),
            ("search_keys", "Queries run in batches.", self._queue.keys),
            ("search_joined", "Queries that shared an equal one's result.", self._queue.joined),
        ):
            yield GaugeMetricFamily(f"wideseek_{name}", text, value)

    def _cumulated(self, route: str) -> list[tuple[str, float]]:
        """Requests that took at most each number of seconds."""
        count, found = 0, list[tuple[str, float]]()
        for place, limit in enumerate((*SECONDS, float("inf"))):
            count += self._buckets[route, place]
            found.append(("+Inf" if place == len(SECONDS) else str(limit), count))
        return found
