"""Which grant a job shows to which node, and what it does when a node refuses one."""

import logging
from typing import Final

from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.identity import PeerId

from gpunode._grants import GrantSupply, HeldGrant
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
        self._promised = job.cost_microcredits
        self._replaced = 0
        self.problem = ""

    def for_node(self, node: PeerId) -> HeldGrant:
        """Return what a node is shown."""
        return self._named.get(node, self._grant)

    async def replace(self, node: PeerId, code: ErrorCode | None) -> bool:
        """Get another grant if that helps against a refusal; return whether the node is to be asked again.

        A node limits what it does for one open grant; a second refusal means that the job alone is beyond that limit,
        and a grant in the node's own name is funded in full. While the tracker cannot be reached there is no other
        grant, but this one may serve at another node.

        Raises:
            ClientError: no grant could be had.
        """
        if code not in _NEEDS_NEW_GRANT:
            return False
        try:
            return await self._replace(node, code)
        except ClientError as error:
            self.problem = str(error)
            if not isinstance(error, TrackerUnreachable):
                raise
            _log.warning("the grant was not replaced: %s", error, extra={"event": "grant_not_replaced"})
            return False

    async def cover(self, cost_microcredits: int) -> None:
        """See that there is so much for the rest of the job, beside what it has cost: else the node would not be paid.

        Raises:
            ClientError: no grant could be had.
        """
        grant, promised = self._grant, self._promised
        if not self._store.covers(grant, promised_microcredits=promised, cost_microcredits=cost_microcredits):
            await self._take_another(max(promised, cost_microcredits))

    def job_over(self) -> None:
        """Give back what the job did not cost; its last voucher has been signed."""
        self._store.give_back(self._grant, cost_microcredits=self._promised)

    async def _replace(self, node: PeerId, code: ErrorCode | None) -> bool:
        self._replaced += 1
        if self._replaced == 1:
            await self._take_another(self._promised)
        elif self._replaced == 2 and code is ErrorCode.GRANT_EXHAUSTED:
            self._named[node] = await self._store.named(self._job.task, node, cost_microcredits=self._promised)
        else:
            return False
        return True

    async def _take_another(self, cost_microcredits: int) -> None:
        old, task = self._grant, self._job.task
        self._grant = await self._store.replace(task, refused=old.grant.jti, cost_microcredits=cost_microcredits)
        self._store.give_back(old, cost_microcredits=self._promised)
        self._promised = cost_microcredits
