"""Which grant a job shows to which node, and what it does when a node refuses one."""

import logging
from typing import Final

from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.identity import PeerId
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.signing import Signed
from gpunode_protocol.vouchers import Voucher

from gpunode._grants import GrantSupply, HeldGrant
from gpunode._job_cost import Costing, cost_of
from gpunode._job_requests import Job
from gpunode.errors import ClientError, TrackerUnreachable

_log = logging.getLogger(__name__)

_NEEDS_NEW_GRANT: Final = frozenset(
    {
        ErrorCode.REPLAY_MEMORY_FULL,
        ErrorCode.GRANT_EXHAUSTED,
        ErrorCode.GRANT_EXPIRED,
        ErrorCode.GRANT_REVOKED,
        ErrorCode.GRANT_INVALID,
    }
)


class JobGrants:
    """The grants of one job.

    Args:
        store: where they come from.
        job: what they are for.
        grant: to show first.

    ``problem``: why there was none when one was refused, a sentence; empty while none was wanted in vain.
    """

    def __init__(self, store: GrantSupply, job: Job, grant: HeldGrant) -> None:
        self._store = store
        self._job = job
        self._grant = grant
        self._named: dict[PeerId, HeldGrant] = {}
        self._prices = {grant.grant.jti: grant.prices}
        self._promised = job.cost.at(grant.prices)
        self._replaced = 0
        self.problem = ""

    def for_node(self, node: PeerId) -> HeldGrant:
        """Return what a node is shown."""
        return self._named.get(node, self._grant)

    def prices_of(self, jti: str) -> PriceTable:
        """Return the prices by which one of the job's grants is charged."""
        return self._prices[jti]

    def signed(self, voucher: Signed[Voucher]) -> None:
        """Note a node's last voucher as soon as it is signed."""
        jti = voucher.body.jti
        self._store.spend(jti, cost_of(voucher.body, self.prices_of(jti)))

    def has_promised(self, cost: Costing) -> bool:
        """Return whether that was promised for the job."""
        return cost.at(self._grant.prices) <= self._promised

    async def replace(self, node: PeerId, code: ErrorCode | None, cost: Costing) -> bool:
        """Get another grant if that helps against a refusal; return whether the node is to be asked again.

        A node limits what it does for one open grant; a second refusal means that the job alone is beyond that limit,
        and a grant in the node's own name is funded in full. While the tracker cannot be reached there is no other
        grant, but this one may serve at another node. cost: of what is left to do.

        Raises:
            ClientError: no grant could be had, or by its prices the job would cost more than it may.
        """
        if code not in _NEEDS_NEW_GRANT:
            return False
        try:
            return await self._replace(node, code, cost)
        except ClientError as error:
            self.problem = str(error)
            if not isinstance(error, TrackerUnreachable):
                raise
            _log.warning("the grant was not replaced: %s", error, extra={"event": "grant_not_replaced"})
            return False

    async def cover(self, rest: Costing) -> None:
        """See that there is so much for the rest of the job, beside what it has cost: else the node would not be paid.

        Raises:
            ClientError: no grant could be had, or by its prices the job would cost more than it may.
        """
        grant, promised = self._grant, self._promised
        if not self._store.covers(grant, promised_microcredits=promised, cost_microcredits=rest.at(grant.prices)):
            await self._take_another(rest)

    def job_over(self) -> None:
        """Give back what the job did not cost; its last voucher has been signed."""
        self._store.give_back(self._grant, cost_microcredits=self._promised)

    async def _replace(self, node: PeerId, code: ErrorCode | None, cost: Costing) -> bool:
        self._replaced += 1
        if self._replaced == 1:
            await self._take_another(cost)
        elif self._replaced == 2 and code is ErrorCode.GRANT_EXHAUSTED:
            self._named[node] = named = await self._store.named(self._job.task, node, cost=cost)
            self._prices[named.grant.jti] = named.prices
        else:
            return False
        return True

    async def _take_another(self, cost: Costing) -> None:
        old, task = self._grant, self._job.task
        self._grant = new = await self._store.replace(task, refused=old.grant.jti, cost=cost)
        self._store.give_back(old, cost_microcredits=self._promised)
        self._prices[new.grant.jti] = new.prices
        self._promised = cost.at(new.prices)
