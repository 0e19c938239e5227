"""What settling a chunk of claims reads again and again, remembered for the length of one transaction."""

from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, TypeVar

from gpunode_protocol.prices import PriceTable
from gpunode_protocol.vouchers import Voucher
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.entries import reserved_name
from gpunode_tracker.settlement import Terms
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import Account, find_account
from gpunode_tracker.storage.grants import StoredGrant, find_grant, lock_grants
from gpunode_tracker.storage.locks import job_locks, take
from gpunode_tracker.storage.nodes import StoredNode, find_node, find_nodes
from gpunode_tracker.storage.prices import prices_of_version
from gpunode_tracker.storage.settlements import paid_to_node

T = TypeVar("T")


class SettlementBooks:
    """Grants, nodes, accounts and what is left to pay. Only valid while its writing transaction excludes others."""

    def __init__(self, connection: AsyncConnection) -> None:
        """connection: inside a writing transaction."""
        self.connection = connection
        self._known: dict[Hashable, Any] = {}

    async def lock(self, claims: Iterable[Voucher]) -> None:
        """Keep others from deciding on the same jobs, grants and nodes until the transaction ends.

        In one step for all, and in the same order as everybody: otherwise two batches could wait for each other.
        """
        vouchers = list(claims)
        await take(self.connection, *job_locks((voucher.client, voucher.job) for voucher in vouchers))
        grants = await lock_grants(self.connection, {voucher.jti for voucher in vouchers})
        nodes = await find_nodes(self.connection, {voucher.node for voucher in vouchers}, share=True)
        for voucher in vouchers:
            self._known["grant", voucher.jti] = grants.get(voucher.jti)
            self._known["node", voucher.node] = nodes.get(voucher.node)

    async def grant(self, jti: str) -> StoredGrant | None:
        """Return a grant, locked."""
        return await self._once(("grant", jti), lambda: find_grant(self.connection, jti, lock=True))

    async def node(self, peer: str) -> StoredNode | None:
        """Return a registered node."""
        return await self._once(("node", peer), lambda: find_node(self.connection, peer))

    async def account(self, account_id: str) -> Account:
        """Return the account of a grant, which must exist."""
        found = await self._once(("account", account_id), lambda: find_account(self.connection, account_id))
        if found is None:
            raise LookupError("a grant without an account")
        return found

    async def terms(self, grant: StoredGrant, node: StoredNode) -> Terms:
        """Return what the grant allows for the node now."""
        left = await self._left(grant.jti)
        if grant.node_caps is not None:
            cap = grant.node_caps.get(node.peer, 0)
            left = min(left, cap - await self._paid(grant.jti, node.peer))
        return Terms(
            client=grant.client,
            tasks=grant.tasks,
            named=grant.node_caps is None or node.peer in grant.node_caps,
            payable_microcredits=left,
            returned=grant.returned_at is not None,
            free=node.account_id == grant.account_id,
            prices=await self._prices(grant.price_version),
        )

    def note_payment(self, grant: StoredGrant, node: StoredNode, microcredits: int) -> None:
        """Keep step with a payment that was written after ``terms`` was asked."""
        self._known["left", grant.jti] -= microcredits
        if ("paid", grant.jti, node.peer) in self._known:
            self._known["paid", grant.jti, node.peer] += microcredits

    async def _left(self, jti: str) -> int:
        return await self._once(("left", jti), lambda: ledger.balance(self.connection, reserved_name(jti)))

    async def _paid(self, jti: str, peer: str) -> int:
        return await self._once(("paid", jti, peer), lambda: paid_to_node(self.connection, jti, peer))

    async def _prices(self, version: int) -> PriceTable:
        return await self._once(("prices", version), lambda: prices_of_version(self.connection, version))

    async def _once(self, key: Hashable, read: Callable[[], Awaitable[T]]) -> T:
        if key not in self._known:
            self._known[key] = await read()
        value: T = self._known[key]
        return value
