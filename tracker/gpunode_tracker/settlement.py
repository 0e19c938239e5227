"""What a voucher pays: the rules, pure. The store asks ``decide`` and writes what it says.

One settlement per (client, job, segment, node). Vouchers are cumulative: the highest pays, a lower one is covered by
it; a final one closes the settlement. A voucher that its signer contradicts is equivocation. Payment comes out of the
grant's reservation in order of arrival and never exceeds it, nor the cap of a named node.

Ranges of output of one job must be disjoint. A node sees its own segments, so an overlap among them is equivocation.
It cannot see what the client signed for other nodes: there an overlap is kept as evidence against the client, and the
node is paid all the same, else a client could void a node's work by a voucher for an accomplice's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gpunode_protocol.prices import PriceTable
from gpunode_protocol.vouchers import Voucher


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What the voucher's grant allows, as it stands.

    Args:
        client: peer id that the grant is bound to.
        tasks: covered by it.
        named: whether the grant is open or names this node; False = it names others only.
        payable_microcredits: what is left of the reservation, and of the node's own cap if there is one.
        returned: the reservation went back to the account.
        free: client and node belong to one account.
        prices: the price table of the grant's version.
    """

    client: str
    tasks: Sequence[str]
    named: bool
    payable_microcredits: int
    returned: bool
    free: bool
    prices: PriceTable


@dataclass(frozen=True, kw_only=True)
class Settled:
    """The state of one settlement after its newest voucher; paid: micro-credits in all."""

    voucher: Voucher
    voucher_digest: bytes
    paid: int


@dataclass(frozen=True)
class OtherSegment:
    """Output units of the same job and client that were settled in another segment. settlement: its id."""

    settlement: int
    segment: int
    node: str
    start: int
    count: int


@dataclass(frozen=True)
class Pay:
    """Pay (0 for what costs nothing) and let the voucher be the newest.

    due: what was still owed. clash: a segment at another node that the client let overlap, for the evidence.
    """

    microcredits: int
    due: int
    clash: OtherSegment | None = None


@dataclass(frozen=True)
class Duplicate:
    """Covered by what was settled before."""


@dataclass(frozen=True)
class Equivocation:
    """Contradicts what its signer said before: keep as evidence, do not pay. clash: None = the same settlement."""

    reason: str
    clash: OtherSegment | None = None


@dataclass(frozen=True)
class Rejected:
    """Not payable; sending again will not help."""

    reason: str


Decision = Pay | Duplicate | Equivocation | Rejected


def decide(
    voucher: Voucher, digest: bytes, terms: Terms, settled: Settled | None, others: Sequence[OtherSegment]
) -> Decision:
    """Decide on a voucher whose signature verified.

    Args:
        digest: of the voucher's body.
        settled: the settlement of this (client, job, segment, node), if there is one.
        others: other segments of this job by the same client that were settled.
    """
    if settled is not None:
        earlier = _compare(voucher, digest, settled)
        if earlier is not None:
            return earlier
    refusal = _refusal(voucher, terms)
    if refusal is not None:
        return Rejected(refusal)
    clashes = _overlapping(voucher, others)
    for clash in clashes:
        if clash.node == voucher.node:
            return Equivocation(overlap_reason(voucher, clash), clash)
    decision = _payment(voucher, terms, settled)
    if clashes and isinstance(decision, Pay):
        return replace(decision, clash=clashes[0])
    return decision


def _compare(voucher: Voucher, digest: bytes, settled: Settled) -> Duplicate | Equivocation | None:
    """Return what the earlier voucher of the same settlement makes of this one; None = it goes beyond."""
    old = settled.voucher
    if digest == settled.voucher_digest:
        return Duplicate()
    if (voucher.jti, voucher.task, voucher.model, voucher.start) != (old.jti, old.task, old.model, old.start):
        return Equivocation("grant, task, model or start differ from an earlier voucher of this segment")
    if old.final:
        if voucher.final or voucher.count > old.count:
            return Equivocation("it differs from the final voucher of this segment")
        return Duplicate()
    if voucher.final:
        return Equivocation("a final voucher promises less than an earlier one") if voucher.count < old.count else None
    if voucher.count == old.count and voucher.digest != old.digest:
        return Equivocation("an earlier voucher has the same count and another digest")
    return None if voucher.count > old.count else Duplicate()


def _refusal(voucher: Voucher, terms: Terms) -> str | None:
    if voucher.client != terms.client:
        return "the grant belongs to another client"
    if voucher.task not in terms.tasks:
        return f"the grant does not cover the task {voucher.task}"
    if not terms.named:
        return "the grant does not name this node"
    if terms.returned:
        return "the grant's reservation went back to its account: more than two hours passed since the grant's end"
    if voucher.task not in terms.prices.tasks and voucher.model not in terms.prices.models:
        return f"the task {voucher.task} has no price"
    return None


def _overlapping(voucher: Voucher, others: Sequence[OtherSegment]) -> list[OtherSegment]:
    end = voucher.start + voucher.count
    return [
        other
        for other in others
        if max(voucher.start, other.start) < min(end, other.start + other.count)  # empty ranges overlap nothing
    ]


def overlap_reason(voucher: Voucher, other: OtherSegment) -> str:
    """Return the words for a voucher whose range another segment was settled for."""
    return f"its output from {voucher.start} on overlaps what segment {other.segment} was settled for"


def _payment(voucher: Voucher, terms: Terms, settled: Settled | None) -> Pay | Rejected:
    cost = terms.prices.cost_microcredits(
        voucher.task, voucher.model, input_units=voucher.input_count, output_units=voucher.count
    )
    due = 0 if terms.free else max(0, cost - (settled.paid if settled else 0))
    paid = min(due, max(0, terms.payable_microcredits))
    if due == 0 and not voucher.final:
        return Rejected("it promises nothing to pay; send the final voucher")
    if due > 0 and paid == 0 and settled is None:
        return Rejected("nothing is left of the grant's reservation for this node")
    return Pay(paid, due)
