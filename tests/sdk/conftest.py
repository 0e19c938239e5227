"""Fixtures of the client's tests."""

from pathlib import Path

import pytest
from gpunode_protocol.ledger_proofs import ReceiptProof

from tests.sdk.proofs import proof_of
from tests.sdk.world import HELLO, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A network in memory."""
    return World(tmp_path)


@pytest.fixture
async def proof(world: World) -> ReceiptProof:
    """The proof of a real answer's receipt."""
    world.add_node()
    async with world.client() as client:
        receipt = (await client.chat(messages=HELLO)).receipt
    made = proof_of(world.keys, receipt.receipt, receipt.voucher)
    world.tracker.proofs[receipt.id] = made
    return made
