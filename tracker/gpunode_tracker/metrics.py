"""Counters for Prometheus: only what the process itself saw since its start."""

from collections import defaultdict
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector


class Metrics:
    """The counters of one tracker, in a registry of their own."""

    def __init__(self) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()
        self._requests = _RequestCounts()
        self.registry.register(self._requests)
        self.rejected = self._counter("rejected", "Requests and connections turned away, by limit.", "reason")
        self.settlements = self._counter("settlement_items", "Vouchers submitted, by what came of them.", "status")
        self.paid_microcredits = self._counter("paid_microcredits", "Micro-credits paid to nodes.")
        self.grants = self._counter("grants", "Grants issued.")
        self.heartbeats = self._counter("heartbeats", "Heartbeats of nodes.")
        self.worker_heartbeats = self._counter("worker_heartbeats", "Heartbeats of pull workers.")
        self.worker_jobs = self._counter("worker_jobs", "Attempts that pull workers ended, by how.", "outcome")
        self.adverts_refused = self._counter("adverts_refused", "Adverts in heartbeats that were not valid.")
        self.redis_failures = self._counter("redis_failures", "Calls of Redis that failed.")
        self.news_dropped = self._counter("news_dropped", "News of jobs that reached no other replica.", "reason")
        self.signs_dropped = self._counter(
            "signs_dropped", "Words of other replicas on workers that were not understood.", "reason"
        )
        self.dispatched = self._counter("dispatched_jobs", "Queued jobs taken to be sent to mesh nodes.", "type")
        self.dispatch_ends = self._counter(
            "dispatch_ends", "What came of them: completed, failed, retried, returned or lost.", "type", "end"
        )
        self.webhooks = self._counter("webhooks", "Webhooks sent, by what came of each try.", "outcome")
        self.leaves = self._counter("ledger_leaves", "Ledger entries numbered in the log.")

    def count_request(self, path: str, status: int) -> None:
        """Count a request. path: of its route."""
        self._requests.counts[path, status] += 1

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gpunode_tracker_{name}", text, labels, registry=self.registry)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)


class _RequestCounts(Collector):
    """Requests by route and status, for a tenth of what a counter of the library costs: every request is counted."""

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[str, int], int] = defaultdict(int)

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "gpunode_tracker_http_requests", "HTTP requests answered.", labels=("path", "status")
        )
        for (path, status), count in self.counts.items():
            family.add_metric((path, str(status)), count)
        yield family
