"""Balances as their owners see them."""

from tests.tracker.conftest import World


async def test_an_accounts_balance(world: World) -> None:
    """Spendable and reserved are told apart; a linked node's earnings are its account's."""
    deal = await world.job(open_microcredits=1_000)
    mine = await world.balance(key=deal.key)
    assert (mine.account, mine.spendable_microcredits, mine.reserved_microcredits) == (
        deal.account,
        100_000_000 - 1_000,
        1_000,
    )
    node = await world.balance(token=deal.token)
    assert (node.account, node.spendable_microcredits) == (f"node:{deal.job.node.peer_id}", 0)
    await world.link(deal.job.node, deal.key)
    assert await world.balance(token=deal.token) == mine
