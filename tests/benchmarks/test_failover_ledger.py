from dataclasses import replace

import pytest
from gpunode.types import RouteSegment
from gpunode_benchmarks.failover_cuts import Cut
from gpunode_benchmarks.failover_ledger import debited_tokens, ledger_matches, paid_units
from gpunode_protocol.identity import Identity
from gpunode_protocol.ledger_entries import LedgerEntry, SettledJob, Transfer
from gpunode_protocol.tasks import Task
from gpunode_protocol.vouchers import VOUCHER_INTERVAL_TOKENS

KILLED, OTHER, CLIENT = (Identity.from_seed(bytes([number]) * 32).peer_id for number in range(3))
NETWORK = "ab" * 20
JOB = "019a0000-0000-7000-8000-000000000001"
CUT = Cut(
    job=JOB,
    expected=(),
    arrivals=(),
    before=0,
    ids=(),
    vouched=100,
    parts=(RouteSegment(KILLED, "asia", 80, "its stream ended"), RouteSegment(OTHER, "europe", 20, "done")),
)


def _settlement(node: str, segment: int, count: int, job: str = JOB) -> LedgerEntry:
    settled = SettledJob(
        job=job,
        segment=segment,
        node=node,
        client=CLIENT,
        jti="grant",
        task=Task.LLM,
        model="smollm2-135m",
        count=count,
        input_count=0,
        voucher=bytes(32),
    )
    return LedgerEntry(network=NETWORK, id="entry", kind="settle", at=1, transfers=(), settled=settled, blind=bytes(16))


def test_entries_of_a_segment_are_together_what_the_highest_says() -> None:
    """Segments of one node add up; entries that settle nothing do not count."""
    lines = (Transfer(account="issuance", microcredits=-5), Transfer(account="account:a", microcredits=5))
    issue = LedgerEntry(network=NETWORK, id="issue", kind="issue", at=1, transfers=lines, blind=bytes(16))
    entries = [
        issue,
        _settlement(KILLED, 0, 80),
        _settlement(KILLED, 0, 64),
        _settlement(OTHER, 1, 15),
        _settlement(OTHER, 2, 5),
    ]
    assert paid_units(entries) == {(JOB, KILLED): 80, (JOB, OTHER): 20}


def test_only_these_answers_count() -> None:
    """The client has asked other things, too."""
    paid = paid_units([_settlement(KILLED, 0, 80), _settlement(OTHER, 0, 7, job=JOB.replace("1", "2"))])
    assert debited_tokens([CUT], paid) == 80


@pytest.mark.parametrize(
    ("killed", "other", "matches"),
    [
        (80, 20, True),
        (80 - VOUCHER_INTERVAL_TOKENS, 20, True),
        (79 - VOUCHER_INTERVAL_TOKENS, 20, False),
        (81, 20, False),
        (80, 19, False),
        (80, 21, False),
    ],
)
def test_a_cut_part_may_lack_a_voucher_window_and_a_finished_one_nothing(
    killed: int, other: int, matches: bool
) -> None:
    """Nobody is ever paid more than what the caller got."""
    assert ledger_matches([CUT], {(JOB, KILLED): killed, (JOB, OTHER): other}) is matches


def test_a_part_that_nobody_vouched_for_may_be_short() -> None:
    """No entry at all is all that a node may lack whose first tokens were its last."""
    short = replace(CUT, parts=(replace(CUT.parts[0], output_units=3), CUT.parts[1]))
    assert ledger_matches([short], {(JOB, OTHER): 20})
    assert not ledger_matches([short], {(JOB, KILLED): 3})


def test_payment_for_nothing_is_noticed() -> None:
    """A node that gave no part gets nothing."""
    assert not ledger_matches([CUT], {(JOB, KILLED): 80, (JOB, OTHER): 20, (JOB, CLIENT): 1})
