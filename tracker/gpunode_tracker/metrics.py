"""Counters for Prometheus: only what the process itself saw since its start."""

from prometheus_client import CollectorRegistry, Counter, generate_latest


class Metrics:
    """The counters of one tracker, in a registry of their own."""

    def __init__(self) -> None:
        """Start at zero."""
        self.registry = CollectorRegistry()
        self._of_requests: dict[tuple[str, int], Counter] = {}
        self.requests = self._counter("http_requests", "HTTP requests answered.", "path", "status")
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
        """Count a request. path: of its route, of which there are few, so that their counters are remembered."""
        counter = self._of_requests.get((path, status))
        if counter is None:
            counter = self._of_requests[path, status] = self.requests.labels(path, str(status))
        counter.inc()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"gpunode_tracker_{name}", text, labels, registry=self.registry)

    def render(self) -> bytes:
        """Return the text exposition format."""
        return generate_latest(self.registry)
