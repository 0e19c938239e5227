"""Who is left is paid, and a job's cost is known as soon as it can be. With whole jobs: see ``test_job_run``."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gpunode._accounting import JobAccounts
from gpunode._background import Background
from gpunode._leaving import Leaving
from gpunode._transport import JobLink
from gpunode.errors import InsufficientCredits
from gpunode_protocol import tracker_api as api
from gpunode_protocol.errors import VerificationFailed

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


class _Link:
    """A stream whose node takes its time. completed: the job is done; last_voucher: what was signed before."""

    def __init__(self, *, completed: bool = False, last_voucher: str | None = None) -> None:
        self.completed = SimpleNamespace(voucher="final", receipt="receipt") if completed else None
        self.job = SimpleNamespace(
            is_over=completed, last_voucher=last_voucher, closing_voucher=lambda: last_voucher and "closing"
        )
        self.stream = self
        self.ended: list[str] = []

    async def wind_down(self) -> None:
        await asyncio.sleep(3)

    async def hand_over(self) -> bool:
        await asyncio.sleep(2)
        return True

    async def withdraw(self) -> None:
        self.ended.append("withdrawn")

    async def close(self) -> None:
        self.ended.append("closed")

    def abort(self) -> None:
        self.ended.append("aborted")


class _Accounts:
    """Remembers what is owed."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def signed(self, voucher: str) -> None:
        self.told.append(f"signed {voucher}")

    def submit(self, voucher: str, receipt: str | None = None) -> None:
        self.told.append(f"submit {voucher} {receipt}")

    def handed_over(self, voucher: str, receipt: str) -> None:
        self.told.append(f"handed over {voucher} {receipt}")


def _leaving() -> tuple[Leaving, list[str]]:
    accounts = _Accounts()
    leaving = Leaving(Background(), cast("JobAccounts", accounts), cast("Any", accounts.signed))
    return leaving, accounts.told


def _leave(leaving: Leaving, link: _Link, failure: Any = None) -> None:
    leaving.leave(cast("JobLink", link), failure, lambda: link.ended.append("left"))


@virtual_time
async def test_what_a_job_cost_is_known_before_its_node_has_the_voucher() -> None:
    """The next job may count on the rest of the grant."""
    leaving, told = _leaving()
    _leave(leaving, _Link(completed=True))
    leaving.when_signed(lambda: told.append("cost is known"))
    assert told == ["signed final", "cost is known"]
    await leaving.all_told()
    assert told[2:] == ["handed over final receipt"]


@virtual_time
async def test_the_cost_of_a_cancelled_job_is_known_when_it_has_ended() -> None:
    """What the node says last is paid, too."""
    leaving, told = _leaving()
    _leave(leaving, _Link(last_voucher="interim"))
    leaving.when_signed(lambda: told.append("cost is known"))
    assert told == []
    await leaving.all_told()
    await asyncio.sleep(0)
    assert told == ["signed closing", "submit closing None", "cost is known"]


@virtual_time
async def test_a_liar_has_what_was_signed_before() -> None:
    """It may hand that in, so it counts; nothing is signed or submitted any more."""
    leaving, told = _leaving()
    link = _Link(last_voucher="interim")
    _leave(leaving, link, VerificationFailed("false", fault="bad_receipt"))
    await leaving.all_told()
    assert (told, link.ended) == (["signed interim"], ["aborted", "left"])


@virtual_time
async def test_what_the_loser_of_a_race_was_promised_counts() -> None:
    """It has a voucher if it sent much at once; more is not signed for."""
    for promised in (None, "interim"):
        leaving, told = _leaving()
        link = _Link(last_voucher=promised)
        leaving.withdraw(cast("JobLink", link), lambda ended=link.ended: ended.append("left"))
        await leaving.all_told()
        assert (told, link.ended) == (["signed interim"] if promised else [], ["withdrawn", "left"])


@virtual_time
async def test_a_node_that_gave_nothing_is_owed_nothing() -> None:
    """Its stream is closed, and then its place is free."""
    leaving, told = _leaving()
    link = _Link()
    _leave(leaving, link)
    await leaving.all_told()
    assert (told, link.ended) == ([], ["closed", "left"])


async def test_a_node_that_dies_before_it_has_the_final_voucher_is_paid(world: World) -> None:
    """The client hands voucher and receipt in itself; where the node says that it has them, it does not."""
    node = world.add_node(dies_unsettled=True)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
        node.dies_unsettled = False
        await client.chat(messages=HELLO)
    (item,) = world.tracker.settled
    assert item.voucher == answer.receipt.voucher.envelope
    assert item.receipt == answer.receipt.receipt.envelope


@virtual_time
async def test_streams_that_are_left_one_after_the_other_need_not_much_credit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds most of the account until its node has ended it, and costs little."""
    world.add_node(endless=True, token_s=0.01)
    world.tracker.spendable_microcredits = 30_000
    issue = world.tracker.grant

    async def grant(request: api.GrantRequest) -> api.GrantReply:
        wanted = request.open_microcredits or 0
        if wanted > world.tracker.spendable_microcredits:
            raise InsufficientCredits("not enough")
        world.tracker.spendable_microcredits -= wanted
        return await issue(request)

    monkeypatch.setattr(world.tracker, "grant", grant)
    async with world.client() as client:
        for _ in range(3):
            async with await client.chat(messages=HELLO, stream=True) as chunks:
                await anext(chunks)
