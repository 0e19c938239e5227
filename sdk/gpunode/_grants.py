"""Grants: one per task, kept between runs, renewed at half their life while the old one still serves."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from gpunode_protocol.errors import JobError
from gpunode_protocol.grants import Grant
from gpunode_protocol.identity import PeerId
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import BalanceReply, GrantReply, GrantRequest
from gpunode_protocol.trust import Trust
from pydantic import BaseModel

from gpunode._job_cost import NOTHING, Costing
from gpunode._network_prices import NetworkPrices
from gpunode._shared_spending import SharedSpending
from gpunode._state import read_json, write_json
from gpunode.errors import ClientError, InsufficientCredits, NoNodeFound, TrackerError

_log = logging.getLogger(__name__)

_MIN_LIFE_LEFT_S: Final = 5
"""A grant that ends sooner is not presented any more: the request still has to reach the node."""
_RENEWAL_PAUSE_S: Final = 30.0
"""After a failed renewal, the next one is tried this much later."""

_ATTEMPTS_AT_PRICES: Final = 2
"""Where several trackers share a database, one may issue by prices that the next one learns of a moment later."""

_GIVING_BACK_S: Final = 6.0
"""After this long a job that was cancelled is over: see ``WIND_DOWN_S`` and ``HAND_OVER_S`` of ``_transport``."""


@dataclass(frozen=True)
class HeldGrant:
    """A verified grant with its token, and the prices of the version that it names: it is charged by them."""

    token: str
    grant: Grant
    prices: PriceTable

    def lives(self, now: float) -> bool:
        """Whether it may be presented now."""
        return self.grant.exp > now + _MIN_LIFE_LEFT_S

    def is_past_half_life(self, now: float) -> bool:
        """Whether it is time for the next one."""
        return now > (self.grant.iat + self.grant.exp) / 2


class KeptGrant(BaseModel):
    """A grant in the client's file."""

    token: str
    prices: PriceTable


class GrantSource(Protocol):
    """Who issues grants: the tracker."""

    async def grant(self, request: GrantRequest) -> GrantReply:
        """Issue a grant; raises ``InsufficientCredits``, ``Unauthorized``, ``TrackerUnreachable``."""
        ...

    async def balance(self) -> BalanceReply:
        """Return the account's balance."""
        ...


class GrantSupply(Protocol):
    """Who has grants for jobs; all raise ``GpunodeError`` where there is none."""

    async def get(self, task: Task, *, cost: Costing = NOTHING) -> HeldGrant:
        """Return a grant that covers a job of this cost; ``give_back`` follows when the job is over."""
        ...

    async def replace(self, task: Task, *, refused: str, cost: Costing = NOTHING) -> HeldGrant:
        """Return, likewise, another one than a node has refused; refused: its ``jti``."""
        ...

    def give_back(self, held: HeldGrant, *, cost_microcredits: int) -> None:
        """Note that a job of this cost is over, for which this one was returned."""
        ...

    def spend(self, jti: str, microcredits: int) -> None:
        """Note a node's last voucher for a job, of any grant."""
        ...

    def covers(self, held: HeldGrant, *, promised_microcredits: int, cost_microcredits: int) -> bool:
        """Return whether a job to which so much was promised may cost so much beside what it has cost already."""
        ...

    async def named(self, task: Task, node: PeerId, *, cost: Costing = NOTHING) -> HeldGrant:
        """Return one for a single node."""
        ...


@dataclass(frozen=True)
class GrantTerms:
    """client: peer id to which grants are bound. cap_microcredits: what an open grant reserves at least."""

    client: PeerId
    cap_microcredits: int


class GrantStore:
    """The client's grants.

    Args:
        source: the tracker.
        path: file that keeps them, mode 0600; what they have cost is kept beside it (``.db``).
        terms: see ``GrantTerms``.
        trust: returns the newest trust, to verify them.
        prices: the network's.
        clock: Unix seconds.
        spawn: runs a renewal in the background.
    """

    def __init__(
        self,
        source: GrantSource,
        path: Path,
        *,
        terms: GrantTerms,
        trust: Callable[[], Trust],
        prices: NetworkPrices,
        clock: Callable[[], float],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._source = source
        self._path = path
        self._terms = terms
        self._trust = trust
        self._prices = prices
        self._clock = clock
        self._spawn = spawn
        self._spending = SharedSpending(path.with_suffix(".db"), clock=clock)
        self._held: dict[Task, HeldGrant] | None = None
        self._locks: dict[Task, asyncio.Lock] = {}
        self._renewing: set[Task] = set()
        self._renew_not_before = 0.0
        self._given_back = asyncio.Event()

    async def get(self, task: Task, *, cost: Costing = NOTHING) -> HeldGrant:
        """Return a grant that covers a job of this cost beside those under way: the kept one, else a new one.

        Prices may have changed since the kept one was issued: it serves if the job is within the caller's limit by its
        own.

        Raises:
            NoNodeFound: by the prices of the new one the job costs more than it may.
            ClientError: there is none and the tracker gives none.
        """
        try:
            return await self._get(task, cost)
        except InsufficientCredits:
            if not await self._is_given_back(task, cost):
                raise
        return await self._get(task, cost)

    async def _get(self, task: Task, cost: Costing) -> HeldGrant:
        async with self._locks.setdefault(task, asyncio.Lock()):
            held = self._load().get(task)
            if held is None or not self._serves(held, cost):
                return self._promised(await self._issue_open(task, cost), cost)
            self._promised(held, cost)
        if held.is_past_half_life(self._clock()) and task not in self._renewing:
            self._renewing.add(task)
            self._spawn(self._renew(task, cost))
        return held

    async def _is_given_back(self, task: Task, cost: Costing) -> bool:
        """Wait for jobs that may be about to end: what they do not cost may be all that the account has left."""
        held = self._load().get(task)
        if held is None or not held.lives(self._clock()) or cost.problem(held.prices):
            return False
        try:
            async with asyncio.timeout(_GIVING_BACK_S):
                while not self._serves(held, cost) and self._spending.has_promised(held.grant.jti):
                    self._given_back.clear()
                    await self._given_back.wait()
        except TimeoutError:
            return False
        return self._serves(held, cost)

    async def hold(self, task: Task, *, cost: Costing) -> None:
        """See that ``get`` has a grant for such a job without asking the tracker. Raises like it."""
        held = await self.get(task, cost=cost)
        self.give_back(held, cost_microcredits=cost.at(held.prices))

    def holds(self, task: Task, *, cost: Costing) -> bool:
        """Return whether ``get`` has a grant for such a job without asking the tracker."""
        held = self._load().get(task)
        return held is not None and self._serves(held, cost)

    async def replace(self, task: Task, *, refused: str, cost: Costing = NOTHING) -> HeldGrant:
        """Return a grant other than the one whose ``jti`` a node has refused. Raises like ``get``."""
        async with self._locks.setdefault(task, asyncio.Lock()):
            held = self._load().get(task)
            # one that another job has got instead meanwhile is taken too, if there is enough left of it
            if held is None or held.grant.jti == refused or not self._serves(held, cost):
                held = await self._issue_open(task, cost)
            return self._promised(held, cost)

    def give_back(self, held: HeldGrant, *, cost_microcredits: int) -> None:
        """Note that a job of this cost is over, for which ``get`` or ``replace`` returned this grant."""
        self._spending.give_back(held.grant.jti, cost_microcredits)
        self._given_back.set()

    def covers(self, held: HeldGrant, *, promised_microcredits: int, cost_microcredits: int) -> bool:
        """Return whether a job to which so much was promised may cost so much beside what it has cost already."""
        return self._spending.left_microcredits(held.grant) + promised_microcredits >= cost_microcredits

    def spend(self, jti: str, microcredits: int) -> None:
        """Note a node's last voucher for a job, of any grant."""
        self._spending.spend(jti, microcredits)

    async def named(self, task: Task, node: PeerId, *, cost: Costing = NOTHING) -> HeldGrant:
        """Return a new grant for one node only: fully funded, so the node's limit for open grants does not apply."""

        async def issue(wanted: int) -> HeldGrant:
            cap = max(wanted, self._terms.cap_microcredits)
            return await self._issue(GrantRequest(peer=self._terms.client, tasks=(task,), nodes={node: cap}))

        return _within_limit(await self._issue_for(cost, issue), cost)

    def _serves(self, held: HeldGrant, cost: Costing) -> bool:
        if cost.problem(held.prices) or not held.lives(self._clock()):
            return False
        return self._spending.left_microcredits(held.grant) >= cost.at(held.prices)

    def _promised(self, held: HeldGrant, cost: Costing) -> HeldGrant:
        self._spending.promise(_within_limit(held, cost).grant.jti, cost.at(held.prices))
        return held

    async def _renew(self, task: Task, cost: Costing) -> None:
        try:
            if self._clock() >= self._renew_not_before:
                await self._issue_open(task, cost)  # without the lock: the old one serves meanwhile
        except ClientError as error:
            self._renew_not_before = self._clock() + _RENEWAL_PAUSE_S
            _log.warning("the grant was not renewed: %s", error, extra={"event": "grant_not_renewed"})
        finally:
            self._renewing.discard(task)

    async def _issue_open(self, task: Task, cost: Costing) -> HeldGrant:
        held = await self._issue_for(cost, lambda wanted: self._open(task, wanted))
        self._load()[task] = held
        self._spending.keep({other.grant.jti for other in self._load().values()})
        self._save()
        return held

    async def _issue_for(self, cost: Costing, issue: Callable[[int], Awaitable[HeldGrant]]) -> HeldGrant:
        """Issue a grant that is large enough also by prices that were not known when it was asked for."""
        wanted = cost.at(self._prices.known())
        held = await issue(wanted)
        needed = cost.at(held.prices)
        if held.grant.reserved_microcredits >= needed or cost.problem(held.prices):
            return held
        return await issue(needed)

    async def _open(self, task: Task, cost_microcredits: int) -> HeldGrant:
        wanted = max(cost_microcredits, self._terms.cap_microcredits)
        try:
            return await self._issue(self._open_request(task, wanted))
        except InsufficientCredits:
            rest = (await self._source.balance()).spendable_microcredits
            if not 0 < rest < wanted or rest < cost_microcredits:
                raise
            return await self._issue(self._open_request(task, rest))

    def _open_request(self, task: Task, cap_microcredits: int) -> GrantRequest:
        return GrantRequest(peer=self._terms.client, tasks=(task,), open_microcredits=cap_microcredits)

    async def _issue(self, request: GrantRequest) -> HeldGrant:
        """Have a grant issued whose prices are known; one that names others is left unused."""
        for _ in range(_ATTEMPTS_AT_PRICES):
            reply = await self._source.grant(request)
            try:
                grant = self._trust().open_grant(reply.grant, now=self._clock())
            except JobError as error:
                raise TrackerError(
                    f"The tracker issued a grant that does not verify: {error.message} "
                    "Check this machine's clock; if it is right, tell the tracker's operator."
                ) from error
            prices = self._known_prices(grant.price) or await self._prices.newest()
            if prices.version == grant.price:
                return HeldGrant(reply.grant, grant, prices)
        raise TrackerError(
            "The tracker's grants name another version of its prices than it tells, so that nobody knows what a job "
            "would cost. Try again in some seconds; if it stays so, tell the tracker's operator."
        )

    def _known_prices(self, version: int) -> PriceTable | None:
        tables = (self._prices.known(), *(held.prices for held in self._load().values()))
        return next((table for table in tables if table.version == version), None)

    def _load(self) -> dict[Task, HeldGrant]:
        if self._held is None:
            self._held = {}
            kept = read_json(self._path)
            for entry in kept if isinstance(kept, list) else ():
                if (held := self._taken_back(entry)) is not None:
                    self._held |= dict.fromkeys(map(Task, held.grant.tasks), held)
        return self._held

    def _taken_back(self, entry: object) -> HeldGrant | None:
        """Return a kept grant if it still verifies, is ours, and its prices are known."""
        try:
            kept = KeptGrant.model_validate(entry)
            grant = self._trust().open_grant(kept.token, now=self._clock())
            is_for_known_tasks = all(map(Task, grant.tasks))
        except (JobError, ValueError):
            return None
        is_usable = is_for_known_tasks and kept.prices.version == grant.price and grant.cnf.peer == self._terms.client
        return HeldGrant(kept.token, grant, kept.prices) if is_usable else None

    def _save(self) -> None:
        try:
            kept = {held.token: held.prices for held in self._load().values()}
            entries = [KeptGrant(token=token, prices=prices) for token, prices in sorted(kept.items())]
            write_json(self._path, [entry.model_dump(mode="json") for entry in entries])
        except OSError as error:
            _log.warning("the grant cannot be kept: %s", error, extra={"event": "state_not_written"})


def _within_limit(held: HeldGrant, cost: Costing) -> HeldGrant:
    if problem := cost.problem(held.prices):
        raise NoNodeFound(problem)
    return held
