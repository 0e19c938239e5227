import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import pytest
from gpunode._grants import HeldGrant
from gpunode._job_cost import NOTHING, Costing, cost_of
from gpunode._job_wish import Errand, JobWish
from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode._session import Session
from gpunode.errors import NoNodeFound
from gpunode_protocol.client_job import Completed, JobEvent
from gpunode_protocol.errors import ErrorCode, VerificationFailed, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.messages import TokensFrame
from gpunode_protocol.payloads import ChatMessage, LlmParams
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.regions import Region
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import GrantRequest
from gpunode_protocol.vouchers import Voucher

from tests.sdk.world import World

PARAMS = LlmParams(messages=(ChatMessage(role="user", content="hi"),), max_tokens=100)


@dataclass
class _Grants:
    """Gives grants of somebody else's account."""

    world: World
    session: Session
    costs: list[int] = field(default_factory=list)
    given_back: list[int] = field(default_factory=list)
    spent: list[int] = field(default_factory=list)

    async def get(self, task: Task, *, cost: Costing = NOTHING) -> HeldGrant:
        self.costs.append(wanted := cost.at(DEFAULT_PRICES))
        mesh = (await self.session.ready()).mesh
        request = GrantRequest(peer=mesh.peer_id, tasks=(task,), open_microcredits=wanted)
        token = self.world.keys.grant(request, 77).grant
        return HeldGrant(token, self.world.keys.trust.open_grant(token, now=self.world.now), DEFAULT_PRICES)

    async def replace(self, task: Task, *, refused: str, cost: Costing = NOTHING) -> HeldGrant:  # noqa: ARG002 -- the contract's signature
        return await self.get(task, cost=cost)

    def spend(self, jti: str, microcredits: int) -> None:  # noqa: ARG002 -- as above
        self.spent.append(microcredits)

    def covers(self, held: HeldGrant, *, promised_microcredits: int, cost_microcredits: int) -> bool:  # noqa: ARG002 -- as above
        return True

    def give_back(self, held: HeldGrant, *, cost_microcredits: int) -> None:  # noqa: ARG002 -- as above
        self.given_back.append(cost_microcredits)

    async def named(self, task: Task, node: PeerId, *, cost: Costing = NOTHING) -> HeldGrant:  # noqa: ARG002 -- as above
        return await self.get(task, cost=cost)


@dataclass
class _Accounts:
    """Remembers what is owed."""

    submitted: list[Signed[Voucher]] = field(default_factory=list)
    final: list[tuple[Signed[Voucher], Signed[Receipt]]] = field(default_factory=list)

    def submit(self, voucher: Signed[Voucher] | None, receipt: Signed[Receipt] | None = None) -> None:  # noqa: ARG002 -- the contract's signature
        if voucher is not None:
            self.submitted.append(voucher)

    def handed_over(self, voucher: Signed[Voucher], receipt: Signed[Receipt]) -> None:
        self.final.append((voucher, receipt))

    def report(self, request: Signed[JobRequest], error: VerificationFailed) -> None:
        raise AssertionError((request, error))


class _Errands:
    """A session that runs jobs for others; ``regions``: where it looks for nodes, one region a look."""

    def __init__(self, world: World, *regions: Region) -> None:
        self.session = Session(world.config(), world.surroundings(resume_for_s=5.0))
        self.grants = _Grants(world, self.session)
        self.accounts = _Accounts()
        self._regions = list(regions)

    def wish(self) -> JobWish:
        return JobWish(Task.LLM, PARAMS, errand=Errand(self._look, self.grants, self.accounts))

    async def _look(self) -> Sequence[Choice]:
        region = self._regions.pop(0) if len(self._regions) > 1 else self._regions[0]
        return await self.session.choices(Demand(Task.LLM, region=region))


async def _events(errands: _Errands) -> list[JobEvent]:
    run = await errands.session.start_job(errands.wish())
    async with aclosing(run.events()) as events:
        found = [event async for event in events]
    await run.settle_up()
    return found


async def test_an_errand_is_paid_and_accounted_by_whom_it_is_for(world: World) -> None:
    """The client's own grants are not touched; what a node was handed is told too."""
    world.add_node()
    errands = _Errands(world, Region.ASIA)
    done = (await _events(errands))[-1]
    assert isinstance(done, Completed)
    assert errands.accounts.final == [(done.voucher, done.receipt)]
    assert (errands.accounts.submitted, world.tracker.grants, world.tracker.settled) == ([], [], [])
    assert done.voucher.body.jti == "grant-77"
    assert errands.grants.spent == [cost_of(done.voucher.body, DEFAULT_PRICES)]
    assert len(errands.grants.costs) == 1
    assert errands.grants.given_back == errands.grants.costs
    await errands.session.close()


async def test_an_errand_goes_where_it_looks(world: World) -> None:
    """The first look says who begins, the next one who can finish what broke off."""
    asia = world.add_node(region=Region.ASIA, cut_after=2)
    europe = world.add_node(region=Region.EUROPE)
    errands = _Errands(world, Region.ASIA, Region.EUROPE)
    events = await _events(errands)
    assert "".join(event.text for event in events if isinstance(event, TokensFrame)) == "Paris is the capital."
    assert [len(node.jobs) for node in (asia, europe)] == [1, 1]
    (part,) = errands.accounts.submitted
    assert (part.body.node, part.body.count) == (asia.peer_id, 2)
    assert [voucher.body.node for voucher, _ in errands.accounts.final] == [europe.peer_id]
    await errands.session.close()


async def test_settling_up_waits_for_the_voucher_of_a_cancelled_job(world: World) -> None:
    """Whoever releases the reservation right after it takes nothing from the node."""
    world.add_node(endless=True)
    errands = _Errands(world, Region.ASIA)
    run = await errands.session.start_job(errands.wish())
    async with aclosing(run.events()) as events:
        async for event in events:
            if isinstance(event, TokensFrame):
                break
    await run.settle_up()
    ((voucher, receipt),) = errands.accounts.final
    assert voucher.body.final
    assert receipt.body.finish_reason == "cancelled"
    await errands.session.close()


async def test_whoever_runs_a_job_hears_who_is_asked(world: World) -> None:
    """At once, and again when it goes on elsewhere."""
    asia = world.add_node(region=Region.ASIA, cut_after=2)
    europe = world.add_node(region=Region.EUROPE)
    errands = _Errands(world, Region.ASIA, Region.EUROPE)
    run, asked = await errands.session.start_job(errands.wish()), list[str]()
    run.on_route = lambda route: asked.append(route.node)
    async with aclosing(run.events()) as events:
        async for event in events:
            assert asked, event
    assert list(dict.fromkeys(asked)) == [asia.peer_id, europe.peer_id]
    await errands.session.close()


async def test_settling_up_of_a_job_that_never_began_waits_for_nobody(world: World) -> None:
    """Nobody was asked."""
    world.add_node()
    errands = _Errands(world, Region.ASIA)
    run = await errands.session.start_job(errands.wish())
    await asyncio.wait_for(run.settle_up(), 1)
    await errands.session.close()


@pytest.mark.parametrize(("code", "is_only_load"), [(ErrorCode.BUSY, True), (ErrorCode.INTERNAL, False)])
async def test_an_error_says_whether_nodes_only_had_no_room(world: World, code: ErrorCode, is_only_load: bool) -> None:
    """Then trying again makes sense, and nobody is to blame."""
    refusal: Any = job_error(code, "said the node")
    world.add_node(refuse=[refusal])
    errands = _Errands(world, Region.ASIA)
    with pytest.raises(NoNodeFound) as caught:
        await _events(errands)
    assert caught.value.is_only_load is is_only_load
    await errands.session.close()


async def test_an_errand_does_not_wait_for_others_to_end(world: World) -> None:
    """Somebody else may have room for it: it fails for load, and its queue gets it back."""
    node = world.add_node()
    errands = _Errands(world, Region.ASIA)
    places = (await errands.session.ready()).services.places
    while places.has_room(node.peer_id):
        places.take(node.peer_id)
    with pytest.raises(NoNodeFound) as caught:
        await _events(errands)
    assert (caught.value.is_only_load, node.requests) == (True, [])
    await errands.session.close()
