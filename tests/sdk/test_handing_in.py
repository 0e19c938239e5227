"""Vouchers that the client hands in, while the tracker is there, away, and back."""

import asyncio
import itertools
import logging
from pathlib import Path
from typing import Any

import pytest
from gpunode._background import Background
from gpunode._handing_in import FIRST_PAUSE_S, LONGEST_PAUSE_S, HandingIn
from gpunode._unsettled import UnsettledVouchers
from gpunode.errors import TrackerError, TrackerUnreachable
from gpunode_protocol import tracker_api as api
from gpunode_protocol.receipt_checks import open_voucher
from gpunode_protocol.signing import Envelope

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World


def _item(number: int) -> api.SettlementItem:
    return api.SettlementItem(voucher=Envelope(body=number.to_bytes(4, "big"), signature=bytes(64)))


def _files(world: World) -> list[Path]:
    return sorted((world.folder / "client").glob("trackers/*/vouchers/*.json"))


def _pair(world: World) -> None:
    """Add a node that breaks off, whose voucher is the client's to hand in, and one that finishes."""
    world.add_node(cut_after=2)
    world.add_node().queued = 4


@virtual_time
async def test_a_voucher_that_could_not_be_handed_in_is_at_the_next_start(world: World) -> None:
    """Once: the third client has nothing to tell."""
    _pair(world)
    async with world.client() as client:
        await client.connect()
        stream = await client.chat(messages=HELLO, stream=True)
        await anext(stream)
        world.tracker.down = True
        async for _ in stream:
            pass
    assert (len(_files(world)), world.tracker.settled) == (1, [])
    world.tracker.down = False
    for _ in range(2):
        async with world.client() as client:
            await client.connect()
            await asyncio.sleep(1)
        assert [open_voucher(item.voucher).body.node for item in world.tracker.settled] == [world.nodes[0].peer_id]
    assert _files(world) == []


@virtual_time
async def test_a_voucher_is_handed_in_when_the_tracker_is_back(world: World) -> None:
    """While the client is in use; however long that takes."""
    _pair(world)
    async with world.client() as client:
        await client.connect()
        stream = await client.chat(messages=HELLO, stream=True)
        await anext(stream)
        world.tracker.down = True
        async for _ in stream:
            pass
        await asyncio.sleep(3600)
        assert len(_files(world)) == 1
        world.tracker.down = False
        await asyncio.sleep(LONGEST_PAUSE_S + 1)
        assert (len(world.tracker.settled), _files(world)) == (1, [])


@virtual_time
@pytest.mark.parametrize("answer", ["nothing", "retry"])
async def test_a_voucher_that_was_not_taken_is_sent_again_after_a_pause(world: World, answer: str) -> None:
    """The tracker was just asked, with retries: what it does not take now it will not take at once."""
    _pair(world)
    loop = asyncio.get_running_loop()
    sent_at: list[float] = []

    async def settle(batch: api.SettlementBatch) -> api.SettlementReply:
        sent_at.append(loop.time())
        if answer == "nothing":
            raise TrackerUnreachable("The tracker does not answer.")
        return api.SettlementReply(results=tuple(api.SettlementResult(status="retry") for _ in batch.items))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.tracker, "settle", settle)
        async with world.client() as client:
            await client.chat(messages=HELLO)
            await asyncio.sleep(4 * FIRST_PAUSE_S)
    pauses_s = [after - before for before, after in itertools.pairwise(sent_at)]
    assert pauses_s == pytest.approx([FIRST_PAUSE_S, 2 * FIRST_PAUSE_S], abs=0.01)


@virtual_time
async def test_a_client_that_closes_does_not_wait_for_old_vouchers(world: World) -> None:
    """They have waited before."""
    _pair(world)

    async def for_ever(_batch: api.SettlementBatch) -> Any:
        await asyncio.Event().wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.tracker, "settle", for_ever)
        async with world.client() as client:
            await client.chat(messages=HELLO)
        began_at = asyncio.get_running_loop().time()
        async with world.client() as client:
            await client.connect()
        assert asyncio.get_running_loop().time() - began_at < 1
    assert len(_files(world)) == 1


@virtual_time
@pytest.mark.parametrize(
    ("status", "is_kept"),
    [("settled", False), ("duplicate", False), ("equivocation", False), ("rejected", False), ("retry", True)],
)
async def test_a_voucher_is_kept_until_the_tracker_has_decided(world: World, status: Any, *, is_kept: bool) -> None:
    """Only ``retry`` says that it has not."""
    _pair(world)

    async def settle(batch: api.SettlementBatch) -> api.SettlementReply:
        return api.SettlementReply(results=tuple(api.SettlementResult(status=status) for _ in batch.items))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.tracker, "settle", settle)
        async with world.client() as client:
            await client.chat(messages=HELLO)
    assert len(_files(world)) == is_kept


async def test_a_voucher_that_spoils_a_batch_is_dropped(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Those beside it are handed in; to send it again would not help."""
    vouchers = UnsettledVouchers(world.folder / "vouchers", clock=world.clock)
    for number in range(3):
        vouchers.put(_item(number))
    settle = world.tracker.settle

    async def strict(batch: api.SettlementBatch) -> api.SettlementReply:
        if _item(1) in batch.items:
            raise TrackerError("not a voucher", status=422)
        return await settle(batch)

    background = Background()
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING):
        patch.setattr(world.tracker, "settle", strict)
        handing_in = HandingIn(world.tracker, background, vouchers)
        handing_in.resume()
        assert handing_in._old is not None
        await handing_in._old
    assert sorted(item.voucher.body for item in world.tracker.settled) == [_item(n).voucher.body for n in (0, 2)]
    assert vouchers.all() == {}
    assert "not a voucher" in caplog.text


async def test_a_voucher_that_cannot_be_kept_is_sent_all_the_same(world: World) -> None:
    """A full disk costs the node nothing while the tracker answers."""
    (world.folder / "vouchers").write_text("in the way")
    background = Background()
    vouchers = UnsettledVouchers(world.folder / "vouchers", clock=world.clock)
    HandingIn(world.tracker, background, vouchers).submit(_item(1))
    await background.close()
    assert world.tracker.settled == [_item(1)]
