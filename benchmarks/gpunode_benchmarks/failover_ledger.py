"""What the ledger says of answers that were cut, beside what their callers got. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from gpunode_protocol.ledger_entries import LedgerEntry
from gpunode_protocol.vouchers import VOUCHER_INTERVAL_TOKENS

from gpunode_benchmarks.failover_cuts import Cut

Paid = Mapping[tuple[str, str], int]
"""Output units that were paid for, by job and node."""


def paid_units(entries: Iterable[LedgerEntry]) -> Paid:
    """Return what settlements paid for: each states the units of its segment together with earlier ones."""
    highest: dict[tuple[str, str, int], int] = {}
    for entry in entries:
        if (settled := entry.settled) is not None:
            key = (settled.job, settled.node, settled.segment)
            highest[key] = max(highest.get(key, 0), settled.count)
    paid: Counter[tuple[str, str]] = Counter()
    for (job, node, _), count in highest.items():
        paid[job, node] += count
    return paid


def debited_tokens(cuts: Iterable[Cut], paid: Paid) -> int:
    """Return what was paid for these answers, whoever got it."""
    jobs = {cut.job for cut in cuts}
    return sum(count for (job, _), count in paid.items() if job in jobs)


def ledger_matches(cuts: Sequence[Cut], paid: Paid) -> bool:
    """Whether each node was paid what it gave: all of a finished part, and of a cut one all but one voucher window."""
    return all(_matches(cut, {node: count for (job, node), count in paid.items() if job == cut.job}) for cut in cuts)


def _matches(cut: Cut, paid: Mapping[str, int]) -> bool:
    given: Counter[str] = Counter()
    may_lack: Counter[str] = Counter()
    for part in cut.parts:
        given[part.node] += part.output_units
        if part.ended != "done":
            may_lack[part.node] += min(VOUCHER_INTERVAL_TOKENS, part.output_units)
    return set(paid) <= set(given) and all(
        given[node] - may_lack[node] <= paid.get(node, 0) <= given[node] for node in given
    )
