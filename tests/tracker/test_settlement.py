"""The rules of settlement, without a store: property tests over sequences of vouchers."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import Voucher
from gpunode_tracker.settlement import (
    Decision,
    Duplicate,
    Equivocation,
    OtherSegment,
    Pay,
    Rejected,
    Settled,
    Terms,
    decide,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.tracker.parties import Job

CLIENT, NODE = Identity.from_seed(b"c" * 32), Identity.from_seed(b"n" * 32)
JOB = Job("0" * 40, CLIENT, NODE, "jti")
TERMS = Terms(
    client=CLIENT.peer_id,
    tasks=(Task.LLM,),
    named=True,
    payable_microcredits=10**9,
    returned=False,
    free=False,
    prices=DEFAULT_PRICES,
)
OUTPUT = DEFAULT_PRICES.tasks[Task.LLM].output_microcredits


@dataclass
class Book:
    """One settlement and one reservation, kept as the store keeps them."""

    reserved: int
    settled: Settled | None = None
    others: Sequence[OtherSegment] = ()
    decisions: list[Decision] = field(default_factory=list)

    def submit(self, voucher: Signed[Voucher]) -> Decision:
        """Decide on a voucher and write what follows."""
        paid = self.settled.paid if self.settled else 0
        terms = replace(TERMS, payable_microcredits=self.reserved - paid)
        decision = decide(voucher.body, voucher.digest, terms, self.settled, self.others)
        if isinstance(decision, Pay):
            total = paid + decision.microcredits
            self.settled = Settled(voucher=voucher.body, voucher_digest=voucher.digest, paid=total)
        self.decisions.append(decision)
        return decision

    @property
    def paid(self) -> int:
        """Micro-credits in all."""
        return self.settled.paid if self.settled else 0


def _cost(voucher: Voucher) -> int:
    return DEFAULT_PRICES.cost_microcredits(
        voucher.task, voucher.model, input_units=voucher.input_count, output_units=voucher.count
    )


# What one honest client signs in the course of a segment: rising counts, then a final voucher.
honest_counts = st.lists(st.integers(1, 500), min_size=1, max_size=5, unique=True).map(sorted)


@given(honest_counts, st.integers(0, 100), st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(counts: list[int], input_count: int, rng: object) -> None:
    """An honest client's vouchers pay the final one's cost in any order, each however often it comes."""
    vouchers = [JOB.voucher(count) for count in counts] + [JOB.finished(counts[-1], input_count)[0]]
    shuffled = vouchers * 2
    rng.shuffle(shuffled)  # type: ignore[attr-defined]  # -- hypothesis' own Random
    book = Book(10**9)
    for voucher in shuffled:
        book.submit(voucher)
    assert book.paid == _cost(vouchers[-1].body)
    assert not any(isinstance(decision, Equivocation) for decision in book.decisions)


any_voucher = st.builds(
    lambda count, input_count, final, digest: (
        JOB.finished(count, input_count, digest=bytes([digest]) * 32)[0]
        if final
        else JOB.voucher(count, digest=bytes([digest]) * 32)
    ),
    st.integers(0, 50),
    st.integers(0, 5),
    st.booleans(),
    st.integers(0, 2),
)


@given(st.lists(any_voucher, max_size=8), st.integers(0, 2_000))
def test_never_more_than_reserved(vouchers: list[Signed[Voucher]], reserved: int) -> None:
    """Whatever a client signs, no more is paid than was reserved, nor than its dearest voucher promises."""
    book = Book(reserved)
    for voucher in vouchers:
        book.submit(voucher)
    assert 0 <= book.paid <= reserved
    assert book.paid <= max((_cost(voucher.body) for voucher in vouchers), default=0)


@given(st.lists(any_voucher, max_size=8))
def test_a_second_time_changes_nothing(vouchers: list[Signed[Voucher]]) -> None:
    """After any history, submitting all of it again pays nothing."""
    book = Book(10**9)
    for voucher in vouchers:
        book.submit(voucher)
    paid = book.paid
    for voucher in vouchers:
        book.submit(voucher)
    assert book.paid == paid


CONTRADICTIONS = [
    (JOB.finished(10)[0], JOB.finished(12)[0]),
    (JOB.finished(10)[0], JOB.finished(9)[0]),
    (JOB.finished(10)[0], JOB.finished(10, digest=b"x" * 32)[0]),
    (JOB.finished(10)[0], JOB.voucher(11)),
    (JOB.voucher(11), JOB.finished(10)[0]),
    (JOB.voucher(10), JOB.voucher(10, digest=b"x" * 32)),
    (JOB.voucher(10), JOB.voucher(20, start=5)),
]


@pytest.mark.parametrize(("first", "second"), CONTRADICTIONS)
def test_contradictions(first: Signed[Voucher], second: Signed[Voucher]) -> None:
    """A contradiction is named; it pays what it promises beyond the voucher before, else nothing."""
    book = Book(10**9)
    book.submit(first)
    decision = book.submit(second)
    more = _cost(second.body) - _cost(first.body)
    if more > 0:
        assert isinstance(decision, Pay)
        assert (decision.microcredits, bool(decision.contradiction)) == (more, True)
    else:
        assert isinstance(decision, Equivocation)


def test_a_contradiction_without_funds_changes_nothing() -> None:
    """Nor does one that the grant does not cover: two vouchers in turns cannot fill the ledger."""
    book = Book(10 * OUTPUT)
    book.submit(JOB.finished(10)[0])
    assert isinstance(book.submit(JOB.finished(12)[0]), Equivocation)
    assert isinstance(book.submit(JOB.voucher(20, task=Task.WHISPER)), Equivocation)


def test_a_final_voucher_may_end_on_a_vouched_count() -> None:
    """Text after the last token changes the digest, not the count: no contradiction."""
    book = Book(10**9)
    book.submit(JOB.voucher(64))
    assert book.submit(JOB.finished(64, 7, digest=b"x" * 32)[0]) == Pay(70, 70)


def test_a_lower_voucher_after_the_final_one_is_covered() -> None:
    """Batches may arrive out of order."""
    book = Book(10**9)
    book.submit(JOB.finished(64)[0])
    assert book.submit(JOB.voucher(32)) == Duplicate()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"client": "someone else"}, "another client"),
        ({"tasks": (Task.WHISPER,)}, "does not cover the task llm"),
        ({"named": False}, "does not name this node"),
        ({"returned": True}, "went back"),
        ({"prices": DEFAULT_PRICES.model_copy(update={"tasks": {}})}, "has no price"),
        ({"payable_microcredits": 0}, "nothing is left"),
        ({"payable_microcredits": -5}, "nothing is left"),
    ],
)
def test_refusals(changes: dict[str, object], reason: str) -> None:
    """What the grant does not cover is rejected with the reason."""
    voucher = JOB.voucher(5)
    decision = decide(voucher.body, voucher.digest, replace(TERMS, **changes), None, ())  # type: ignore[arg-type]  # -- any field
    assert isinstance(decision, Rejected)
    assert reason in decision.reason


def test_a_partly_paid_job_may_end_without_funds() -> None:
    """The final voucher is recorded although the reservation is spent, so that its receipt can be proven."""
    book = Book(10 * OUTPUT)
    book.submit(JOB.voucher(10))
    assert book.submit(JOB.finished(12)[0]) == Pay(0, 2 * OUTPUT)


def test_free_jobs_are_recorded_at_their_end() -> None:
    """An own node's job pays nothing; only its final voucher makes an entry."""
    free = replace(TERMS, free=True)
    final, partial = JOB.finished(10)[0], JOB.voucher(10)
    assert decide(final.body, final.digest, free, None, ()) == Pay(0, 0)
    assert isinstance(decide(partial.body, partial.digest, free, None, ()), Rejected)


def test_overlapping_ranges_are_paid_and_named() -> None:
    """The client contradicts itself, wherever the other segment ran; touching and empty ranges are no overlap."""
    voucher = Job(**(vars(JOB) | {"segment": 1, "start": 10})).voucher(10)
    cost = 10 * OUTPUT
    touching, overlapping, empty = OtherSegment(7, 0, 0, 10), OtherSegment(7, 0, 0, 11), OtherSegment(7, 2, 15, 0)
    assert decide(voucher.body, voucher.digest, TERMS, None, (touching, empty)) == Pay(cost, cost)
    decision = decide(voucher.body, voucher.digest, TERMS, None, (touching, overlapping))
    assert decision == Pay(cost, cost, clash=overlapping)
