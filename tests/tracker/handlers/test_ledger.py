"""The ledger over HTTP: proofs for owners, hashes for everybody."""

import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.errors import VerificationFailed
from gpunode_protocol.identity import Identity
from gpunode_protocol.ledger_proofs import ReceiptProof, verify_receipt_proof
from gpunode_protocol.merkle import consistency_is_valid, tree_hash

from tests.tracker.conftest import Deal, World
from tests.tracker.parties import job_id


async def _settled(world: World) -> tuple[Deal, str]:
    """Return a settled job and its receipt's id."""
    deal = await world.job()
    voucher, receipt = deal.job.finished(10, 3)
    await world.settle(api.SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope))
    return deal, receipt.digest.hex()


async def test_a_receipt_can_be_proven_at_once(world: World) -> None:
    """Payer and node get a proof that verifies against the root key alone, right after the settlement."""
    deal, receipt = await _settled(world)
    root = world.tracker.keys.trust.root_public_key
    for headers in ({"key": deal.key}, {"token": deal.token}):
        response = await world.get(api.RECEIPT_PATH.format(receipt=receipt), **headers)
        proof = ReceiptProof.model_validate_json(await response.text())
        verified = verify_receipt_proof(proof, root)
        assert verified.receipt.digest.hex() == receipt
        assert verified.entry.settled is not None
    with pytest.raises(VerificationFailed):
        verify_receipt_proof(proof, Identity.generate().public_key)


async def test_a_receipt_is_for_its_owners(world: World) -> None:
    """Others get the same answer as for a receipt that does not exist."""
    _, receipt = await _settled(world)
    _, other = await world.account()
    path = api.RECEIPT_PATH.format(receipt=receipt)
    assert (await world.get(path, key=other)).status == 404
    assert (await world.get(path)).status == 401
    assert (await world.get(api.RECEIPT_PATH.format(receipt="00" * 32), key=other)).status == 404
    assert (await world.get(api.RECEIPT_PATH.format(receipt="xyz"), key=other)).status == 422


async def test_entries_in_pages(world: World) -> None:
    """Newest first, each once; payer and node see the settlement, the node not the reservation."""
    deal, _ = await _settled(world)
    kinds, cursor = [], ""
    while True:
        response = await world.get(f"{api.ENTRIES_PATH}?limit=2{cursor}", key=deal.key)
        page = api.EntriesReply.model_validate_json(await response.text())
        kinds += [item.entry.kind for item in page.entries]
        if page.next_cursor is None:
            break
        cursor = f"&cursor={page.next_cursor}"
    assert kinds == ["settle", "reserve", "issue"]
    response = await world.get(api.ENTRIES_PATH, token=deal.token)
    mine = api.EntriesReply.model_validate_json(await response.text())
    assert [item.entry.kind for item in mine.entries] == ["settle"]
    assert (await world.get(api.ENTRIES_PATH)).status == 401
    assert (await world.get(f"{api.ENTRIES_PATH}?limit=x", key=deal.key)).status == 422


async def test_the_public_log(world: World) -> None:
    """Head, leaves and consistency need no key and fit together."""
    await _settled(world)
    await world.tracker.sequence()
    response = await world.get(api.HEAD_PATH)
    envelope = api.HeadReply.model_validate_json(await response.text()).head
    head = world.tracker.keys.trust.open_tree_head(envelope).body
    leaves: list[bytes] = []
    while len(leaves) < head.size:
        response = await world.get(f"{api.LEAVES_PATH}?start={len(leaves)}&limit=2")
        leaves += api.LeavesReply.model_validate_json(await response.text()).leaves
    assert tree_hash(leaves) == head.root
    response = await world.get(f"{api.CONSISTENCY_PATH}?from=1")
    proof = api.ConsistencyReply.model_validate_json(await response.text())
    assert (proof.from_size, proof.to_size) == (1, head.size)
    assert consistency_is_valid(1, head.size, tree_hash(leaves[:1]), head.root, proof.path)
    assert (await world.get(f"{api.CONSISTENCY_PATH}?from=1&to=999")).status == 422
    beyond = api.LeavesReply.model_validate_json(await (await world.get(f"{api.LEAVES_PATH}?start=999")).text())
    assert beyond.leaves == ()


async def test_balances_of_all_add_up_to_zero(world: World) -> None:
    """Issuance, account, reservation and node together."""
    from gpunode_tracker.entries import ISSUANCE, account_name, node_name, reserved_name
    from gpunode_tracker.storage.ledger import balance

    deal, _ = await _settled(world)
    names = [
        ISSUANCE,
        account_name(deal.account),
        reserved_name(deal.grant.jti),
        node_name(deal.job.node.peer_id),
    ]
    async with world.tracker.database.read() as connection:
        assert sum([await balance(connection, name) for name in names]) == 0
    assert deal.job.job == job_id(1)
