"""Balances as their owners see them."""

from gpunode_protocol.tracker_api import BalanceReply
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.entries import account_name, node_name
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account, find_account
from gpunode_tracker.storage.grants import reserved_by
from gpunode_tracker.storage.nodes import StoredNode


async def account_balance(connection: AsyncConnection, account: Account) -> BalanceReply:
    """Return what an account can spend and what its grants hold."""
    return BalanceReply(
        account=account.id,
        spendable_microcredits=await ledger.balance(connection, account_name(account.id)),
        reserved_microcredits=await reserved_by(connection, account.id),
        promotional=account.promotional,
    )


async def node_balance(connection: AsyncConnection, node: StoredNode) -> BalanceReply:
    """Return what a node earned; a linked node's earnings are its account's."""
    account = await find_account(connection, node.account_id) if node.account_id is not None else None
    if account is not None:
        return await account_balance(connection, account)
    name = node_name(node.peer)
    return BalanceReply(account=name, spendable_microcredits=await ledger.balance(connection, name))
