"""Which nodes failed lately: 15 s at the end of the line, doubling to 5 min (facts: Petals, Darkbloom)."""

from dataclasses import dataclass, field
from typing import Final

FIRST_PAUSE_S: Final = 15.0
LONGEST_PAUSE_S: Final = 300.0


@dataclass
class _Record:
    failures: int = 0
    failed_until: float = 0.0
    blocked_until: float = 0.0
    busy_until: float = 0.0


@dataclass
class Breakers:
    """Pauses of nodes; instants are monotonic seconds."""

    _records: dict[str, _Record] = field(default_factory=dict)

    def failed(self, node: str, now: float) -> None:
        """Pause a node, twice as long as the last time.

        During a pause that begins anew, as long as before: jobs that were there together end by the same failure.
        """
        record = self._records.setdefault(node, _Record())
        if now >= record.failed_until:
            record.failures += 1
        record.failed_until = now + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(record.failures - 1, 16))
        record.blocked_until = max(record.blocked_until, record.failed_until)

    def busy(self, node: str, now: float, retry_after_s: float | None) -> None:
        """Pause a node that said when to come back; it has not failed."""
        record = self._records.setdefault(node, _Record())
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S if retry_after_s is None else retry_after_s)
        record.blocked_until = max(record.blocked_until, now + pause_s)
        record.busy_until = now + min(LONGEST_PAUSE_S, retry_after_s or 0.0)

    def succeeded(self, node: str) -> None:
        """Forget a node's failures."""
        self._records.pop(node, None)

    def busy_until(self, node: str) -> float:
        """Return the instant at which a node that had no room wants to be asked again, 0 if it named none."""
        record = self._records.get(node)
        return 0.0 if record is None else record.busy_until

    def blocked(self, now: float) -> frozenset[str]:
        """Return the nodes that should be asked last."""
        return frozenset(node for node, record in self._records.items() if record.blocked_until > now)
