"""What is remembered within a transaction stays true."""

from gpunode_tracker.settlement_books import SettlementBooks

from tests.tracker.conftest import World


async def test_payments_are_counted_at_once(world: World) -> None:
    """After a payment the same chunk sees less to pay, for the grant and for a named node's cap."""
    deal = await world.job(open_microcredits=None, nodes=None)
    named = await world.grant(deal.key, deal.job.client, nodes={deal.job.node.peer_id: 500})
    async with world.tracker.database.write() as connection:
        books = SettlementBooks(connection)
        node = await books.node(deal.job.node.peer_id)
        assert node is not None
        for jti, left in ((deal.grant.jti, deal.grant.reserved_microcredits), (named.jti, 500)):
            grant = await books.grant(jti)
            assert grant is not None
            assert (await books.terms(grant, node)).payable_microcredits == left
            books.note_payment(grant, node, 300)
            assert (await books.terms(grant, node)).payable_microcredits == left - 300


async def test_a_batch_pays_as_single_items_do(world: World) -> None:
    """Two jobs under one small grant in one batch: the second gets the rest."""
    deal = await world.job(open_microcredits=400)
    results = await world.settle(deal.job.partial(10), deal.job.partial(20))
    assert [result.paid_microcredits for result in results] == [300, 100]
