"""What a queued job is paid from: its own reservation, which is raised where it would not cover the job."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from gpunode._grants import HeldGrant
from gpunode._job_cost import NOTHING, Costing
from gpunode_protocol.grants import MAX_GRANT_LIFETIME_S, Grant, issue_grant
from gpunode_protocol.identity import PeerId
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.tasks import Task
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.entries import Bookkeeper, account_name, reserved_name
from gpunode_tracker.errors import Conflict, Forbidden, InsufficientCredits
from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.jobs.reservations import grant_for
from gpunode_tracker.storage import ledger
from gpunode_tracker.storage.accounts import find_account
from gpunode_tracker.storage.grants import StoredGrant, find_grant, prolong
from gpunode_tracker.storage.prices import prices_of_version

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker

JOBS_AT_ONE_NODE: Final = 4
"""Requests of one job that a node may have in hand: one whose stream was cut runs on for a while beside the next."""


class JobFunds:
    """Implements ``gpunode._grants.GrantSupply`` for one job: every token is for its reservation, none reserves anew.

    What was reserved at the submission covers one run. An attempt that failed after a part of its answer was paid for,
    and ids that a second node reads once more, cost extra: that is taken from the account when it comes to it. All
    counts by the prices that were in force at the submission: the ledger charges it so.

    Args:
        tracker: whose ledger and keys are used.
        job: held by the tracker's dispatch.
    """

    def __init__(self, tracker: "Tracker", job: StoredJob) -> None:
        self._tracker = tracker
        self._job = job

    async def get(self, task: Task, *, cost: Costing = NOTHING) -> HeldGrant:  # noqa: ARG002 -- the reservation knows
        """Return a grant that any nodes share, in order of arrival.

        Raises:
            InsufficientCredits: the account cannot cover the cost. Conflict: the job has ended.
            Forbidden: the operator revoked the reservation.
        """
        return await self._token(cost.at)

    async def replace(self, task: Task, *, refused: str, cost: Costing = NOTHING) -> HeldGrant:  # noqa: ARG002 -- as above
        """Return another token; a node for which the last one was exhausted gets one that covers the cost once more."""
        return await self._token(lambda prices: 2 * cost.at(prices))

    async def named(self, task: Task, node: PeerId, *, cost: Costing = NOTHING) -> HeldGrant:  # noqa: ARG002 -- as above
        """Return a token for one node only."""
        return await self._token(cost.at, node)

    def give_back(self, held: HeldGrant, *, cost_microcredits: int) -> None:
        """Do nothing: what is left of the reservation goes back when the job ends."""

    def spend(self, jti: str, microcredits: int) -> None:
        """Do nothing: what is owed is settled when the job ends."""

    def covers(self, held: HeldGrant, *, promised_microcredits: int, cost_microcredits: int) -> bool:  # noqa: ARG002 -- as above
        """Return True: whatever else a job costs is taken from the account when it comes to it."""
        return True

    async def cover(self, due: Callable[[PriceTable], int]) -> None:
        """Let the reservation hold as much if the account has it: it is to be paid now. due: micro-credits."""
        async with self._tracker.database.write() as connection:
            prices = await self._prices(connection)
            await self._raised(connection, due(prices))

    async def _token(self, cost: Callable[[PriceTable], int], node: PeerId | None = None) -> HeldGrant:
        tracker = self._tracker
        async with tracker.database.write() as connection:
            prices = await self._prices(connection)
            cost_microcredits = cost(prices)
            reservation, left, balance = await self._raised(connection, cost_microcredits)
            if left < cost_microcredits:
                missing = cost_microcredits - left
                raise InsufficientCredits(balance_microcredits=balance, wanted_microcredits=missing)
        grant = self._grant(reservation, node)
        kid, signer = tracker.keys.signer(tracker.now)
        return HeldGrant(issue_grant(grant, signer=signer, kid=kid), grant, prices)

    async def _prices(self, connection: AsyncConnection) -> PriceTable:
        """Return those by which the job is charged; without a reservation, which ``_raised`` says, any."""
        reservation = await find_grant(connection, self._job.jti or "")
        prices = self._tracker.prices
        if reservation is None or reservation.price_version == prices.version:
            return prices
        return await prices_of_version(connection, reservation.price_version)

    async def _raised(self, connection: AsyncConnection, wanted: int) -> tuple[StoredGrant, int, int]:
        """Raise the reservation as far as needed and possible.

        Returns:
            It, what is left of it, and what the account has beside it, in micro-credits.
        """
        tracker, job = self._tracker, self._job
        await find_account(connection, job.account_id, lock=True)
        reservation = await find_grant(connection, job.jti or "", lock=True)
        if reservation is None or reservation.returned_at is not None:
            raise Conflict("The job has ended; what was reserved for it has gone back.")
        if reservation.revoked_at is not None:
            raise Forbidden("The operator has revoked what was reserved for this job.")
        left = await ledger.balance(connection, reserved_name(reservation.jti))
        balance = await ledger.balance(connection, account_name(job.account_id))
        added = min(max(0, wanted - left), max(0, balance))
        if added:
            entry = Bookkeeper(tracker.keys.network, tracker.now).reserve(job.account_id, reservation.jti, added)
            await ledger.append(connection, entry)
            tracker.wake_sequencer.set()
        client, expires_at = tracker.dispatch.peer_id, tracker.now + MAX_GRANT_LIFETIME_S
        if added or reservation.client != client or reservation.expires_at < expires_at:
            await prolong(connection, reservation.jti, client=client, added=added, expires_at=expires_at)
            reservation = await find_grant(connection, reservation.jti) or reservation
        return reservation, left + added, balance - added

    def _grant(self, reservation: StoredGrant, node: PeerId | None) -> Grant:
        """Return the claims. A node counts all that the reservation has ever cost there, so the cap is all of it."""
        tracker = self._tracker
        claims = grant_for(reservation, reservation.reserved, network=tracker.keys.network, node=node, now=tracker.now)
        return claims.model_copy(update={"jobs": JOBS_AT_ONE_NODE, "priority": self._job.priority})
