"""What a voucher pays: the rules, pure. The store asks ``decide`` and writes what it says.

One settlement per (client, job, segment, node, grant). Vouchers are cumulative: the highest pays, a lower one is
covered by it; a final one closes the settlement. Payment comes out of the grant's reservation in order of arrival and
never exceeds it, nor the cap of a named node.

Ranges of output of one job must be disjoint, and vouchers of one segment must agree. Only the client signs vouchers,
and it may hand any of them to the tracker without the node's knowledge. So a contradiction is kept as evidence against
the client and never takes from a node what its voucher promises, else a client could void a node's work: it pays what
it promises beyond what this settlement paid before.
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
    """Output units of the same job and client that another settlement paid. settlement: its id."""

    settlement: int
    segment: int
    start: int
    count: int


@dataclass(frozen=True)
class Pay:
    """Pay (0 for what costs nothing) and let the voucher be the newest.

    due: what was still owed. clash: another settlement that the client let overlap, for the evidence.
    contradiction: why the voucher before it in this settlement goes to the evidence.
    """

    microcredits: int
    due: int
    clash: OtherSegment | None = None
    contradiction: str = ""


@dataclass(frozen=True)
class Duplicate:
    """Covered by what was settled before."""


@dataclass(frozen=True)
class Equivocation:
    """Contradicts what its signer said before, and pays nothing beyond it: keep as evidence."""

    reason: str


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
        settled: the settlement of this (client, job, segment, node, grant), if there is one.
        others: what else was settled of this job and client.
    """
    contradiction = ""
    if settled is not None:
        if digest == settled.voucher_digest:
            return Duplicate()
        contradiction = _contradiction(voucher, settled.voucher)
        if not contradiction and _is_covered(voucher, settled.voucher):
            return Duplicate()
    refusal = _refusal(voucher, terms)
    decision = Rejected(refusal) if refusal is not None else _payment(voucher, terms, settled)
    if contradiction:
        if not isinstance(decision, Pay) or decision.microcredits == 0:
            return Equivocation(contradiction)
        decision = replace(decision, contradiction=contradiction)
    clashes = _overlapping(voucher, others)
    if clashes and isinstance(decision, Pay):
        return replace(decision, clash=clashes[0])
    return decision


def _contradiction(voucher: Voucher, old: Voucher) -> str:
    """Return why one signer cannot have meant both vouchers of a settlement, empty if it can."""
    if (voucher.task, voucher.model, voucher.start) != (old.task, old.model, old.start):
        return "task, model or start differ from an earlier voucher of this segment"
    if old.final and (voucher.final or voucher.count > old.count):
        return "it differs from the final voucher of this segment"
    if voucher.final and voucher.count < old.count:
        return "a final voucher promises less than an earlier one"
    if not old.final and not voucher.final and voucher.count == old.count and voucher.digest != old.digest:
        return "an earlier voucher has the same count and another digest"
    return ""


def _is_covered(voucher: Voucher, old: Voucher) -> bool:
    return not voucher.final and (old.final or voucher.count <= old.count)


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
    """Return the words for a voucher whose range another settlement paid."""
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
