import logging

import pytest
from gpunode._accounting import Accounting
from gpunode._background import Background
from gpunode._handing_in import HandingIn
from gpunode._unsettled import UnsettledVouchers
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply, SettlementResult

from tests.sdk.world import HELLO, World


def _accounting(world: World, background: Background) -> Accounting:
    vouchers = UnsettledVouchers(world.folder / "vouchers", clock=world.clock)
    return Accounting(world.tracker, HandingIn(world.tracker, background, vouchers), background)


async def test_nothing_received_is_nothing_owed(world: World) -> None:
    """No voucher, no call."""
    background = Background()
    _accounting(world, background).submit(None)
    await background.close()
    assert world.tracker.settled == []


async def test_what_its_node_hands_in_the_client_does_not(world: World) -> None:
    """Else every voucher would come twice."""
    node = world.add_node(words=("a", "b", "c"))
    async with world.client() as client:
        voucher = (await client.chat(messages=HELLO)).receipt.voucher
    background = Background()
    accounting = _accounting(world, background)
    accounting.handed_over(voucher, node.jobs[0].receipt)
    await background.close()
    assert world.tracker.settled == []
    background = Background()
    _accounting(world, background).submit(voucher, node.jobs[0].receipt)
    await background.close()
    (item,) = world.tracker.settled
    assert (item.voucher, item.receipt) == (voucher.envelope, node.jobs[0].receipt.envelope)


async def test_a_refused_voucher_is_logged(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the tracker's reason."""
    world.add_node()
    async with world.client() as client:
        voucher = (await client.chat(messages=HELLO)).receipt.voucher

    async def settle(batch: SettlementBatch) -> SettlementReply:
        assert len(batch.items) == 1
        return SettlementReply(results=(SettlementResult(status="rejected", reason="grant unknown"),))

    monkeypatch.setattr(world.tracker, "settle", settle)
    background = Background()
    with caplog.at_level(logging.WARNING):
        _accounting(world, background).submit(voucher)
        await background.close()
    assert "rejected grant unknown" in caplog.text
