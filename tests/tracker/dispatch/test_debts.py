from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import DEFAULT_PRICES, PriceTable
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import sign
from gpunode_tracker.dispatch.debts import Debts

from tests.tracker.parties import MODEL, START_AT, Job, job_id

CLIENT, NODE = Identity.from_seed(b"\x01" * 32), Identity.from_seed(b"\x02" * 32)
JOB = Job("0" * 40, CLIENT, NODE, "jti")


def test_nothing_received_is_nothing_owed() -> None:
    """No voucher, no item."""
    debts = Debts()
    debts.submit(None)
    assert (debts.items, debts.due_microcredits(DEFAULT_PRICES)) == ((), 0)


def test_all_that_was_signed_is_to_be_settled() -> None:
    """Also what a node has got already: it hands it in when the reservation has gone back."""
    debts, cut = Debts(), JOB.voucher(2)
    final, receipt = JOB.finished(2, 9)
    debts.submit(cut)
    debts.handed_over(final, receipt)
    assert [(item.voucher, item.receipt) for item in debts.items] == [
        (cut.envelope, None),
        (final.envelope, receipt.envelope),
    ]
    assert debts.due_microcredits(DEFAULT_PRICES) == 30 * 2 + (30 * 2 + 10 * 9)
    assert debts.due_microcredits(PriceTable(version=2, tasks={})) == 0


def test_complaints_are_kept_for_the_account() -> None:
    """With the fault, and what the client saw."""
    debts = Debts()
    request = JobRequest(
        network=JOB.network,
        job=job_id(1),
        segment=0,
        client=CLIENT.peer_id,
        node=NODE.peer_id,
        grant="grant",
        issued_at=START_AT,
        deadline_at=START_AT + 10,
        task="llm",
        model=MODEL,
        params={},
        salt=bytes(32),
    )
    debts.report(sign(CLIENT, request), VerificationFailed("too many tokens", fault="bad_usage"))
    (complaint,) = debts.complaints
    assert (complaint.node, complaint.job, complaint.kind) == (NODE.peer_id, job_id(1), "bad_usage")
