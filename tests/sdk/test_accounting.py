import logging

import pytest
from gpunode._accounting import Accounting
from gpunode._background import Background
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply, SettlementResult

from tests.sdk.world import HELLO, World


async def test_nothing_received_is_nothing_owed(world: World) -> None:
    """No voucher, no call."""
    background = Background()
    Accounting(world.tracker, background).submit(None)
    await background.close()
    assert world.tracker.settled == []


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
        Accounting(world.tracker, background).submit(voucher)
        await background.close()
    assert "rejected grant unknown" in caplog.text
