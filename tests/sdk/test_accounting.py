import logging
from collections import Counter

import pytest
from gpunode._accounting import Accounting
from gpunode._background import Background
from gpunode._handing_in import HandingIn
from gpunode._unsettled import UnsettledVouchers
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import SettlementBatch, SettlementReply, SettlementResult

from tests.sdk.scripted_node import PROMPT_TOKENS
from tests.sdk.world import HELLO, MODEL, World


def _accounting(world: World, background: Background, spent: Counter[str]) -> Accounting:
    def spend(jti: str, microcredits: int) -> None:
        spent[jti] += microcredits

    vouchers = UnsettledVouchers(world.folder / "vouchers", clock=world.clock)
    handing_in = HandingIn(world.tracker, background, vouchers)
    return Accounting(world.tracker, handing_in, background, prices=lambda: DEFAULT_PRICES, spend=spend)


async def test_nothing_received_is_nothing_owed(world: World) -> None:
    """No voucher, no call."""
    background = Background()
    spent = Counter[str]()
    _accounting(world, background, spent).submit(None)
    await background.close()
    assert (world.tracker.settled, spent) == ([], {})


async def test_what_was_signed_for_is_counted_by_grant(world: World) -> None:
    """Once, whoever hands the voucher in; three words and their prompt by the network's prices."""
    node = world.add_node(words=("a", "b", "c"))
    async with world.client() as client:
        receipt = (await client.chat(messages=HELLO)).receipt
    voucher, background, spent = receipt.voucher, Background(), Counter[str]()
    accounting = _accounting(world, background, spent)
    accounting.signed(voucher)
    accounting.submit(voucher)
    accounting.handed_over(voucher, node.jobs[0].receipt)
    await background.close()
    cost = DEFAULT_PRICES.cost_microcredits(Task.LLM, MODEL, input_units=PROMPT_TOKENS, output_units=3)
    assert spent == {voucher.body.jti: cost}


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
        _accounting(world, background, Counter()).submit(voucher)
        await background.close()
    assert "rejected grant unknown" in caplog.text
