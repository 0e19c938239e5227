"""Every token of a job is for its own reservation."""

import pytest
from gpunode._grants import HeldGrant
from gpunode._job_cost import Sum
from gpunode_protocol.grants import MAX_GRANT_LIFETIME_S
from gpunode_protocol.identity import Identity
from gpunode_protocol.prices import PriceTable
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.funds import JobFunds
from gpunode_tracker.entries import account_name
from gpunode_tracker.errors import Conflict, Forbidden, InsufficientCredits
from gpunode_tracker.jobs.job import StoredJob
from gpunode_tracker.jobs.reservations import RESERVED_S
from gpunode_tracker.storage.grants import SETTLEMENT_PERIOD_S, StoredGrant, find_grant, revoke_grant
from gpunode_tracker.storage.prices import add_prices

from tests.sdk.world import dearer
from tests.tracker.dispatch.mesh_world import GIVEN, MeshWorld
from tests.tracker.parties import TestClock

NODE = Identity.from_seed(b"\x05" * 32).peer_id


def _flat(microcredits: int) -> Sum:
    return Sum(lambda _prices: microcredits)


async def reservation(mesh: MeshWorld, job: StoredJob) -> StoredGrant:
    """Return a job's reservation."""
    async with mesh.tracker.database.read() as connection:
        found = await find_grant(connection, job.jti or "")
    assert found is not None
    return found


def spending(held: HeldGrant) -> int | None:
    """Return what an open token lets nodes spend together."""
    return held.grant.cap.open


async def test_a_token_is_for_the_reservation_and_the_dispatch_key(mesh: MeshWorld) -> None:
    """It verifies like any other grant, and nothing is reserved anew."""
    job = await mesh.submit(priority=3)
    held_back = await mesh.reserved(job)
    held = await JobFunds(mesh.tracker, job).get(Task.LLM, cost=_flat(held_back))
    assert mesh.tracker.keys.trust.open_grant(held.token, now=mesh.tracker.now) == held.grant
    assert (held.grant.jti, held.grant.cnf.peer) == (job.jti, mesh.tracker.dispatch.peer_id)
    assert (held.grant.tasks, held.grant.priority, spending(held)) == (("llm",), 3, held_back)
    assert held.grant.exp - held.grant.iat == MAX_GRANT_LIFETIME_S
    assert await mesh.spent() == held_back


async def test_what_the_reservation_lacks_comes_from_the_account(mesh: MeshWorld) -> None:
    """The cap is all that was ever reserved, because a node counts all that it ever cost there."""
    job = await mesh.submit()
    held_back = await mesh.reserved(job)
    held = await JobFunds(mesh.tracker, job).get(Task.LLM, cost=_flat(held_back + 500))
    assert spending(held) == await mesh.reserved(job) == await mesh.spent() == held_back + 500
    assert (await reservation(mesh, job)).reserved == held_back + 500


async def test_an_exhausted_token_is_replaced_by_one_for_twice_the_cost(mesh: MeshWorld) -> None:
    """A node may count a part of this answer already; after that, it gets a token in its own name."""
    job = await mesh.submit()
    funds = JobFunds(mesh.tracker, job)
    cost = await mesh.reserved(job)
    assert spending(await funds.replace(Task.LLM, refused=job.jti or "", cost=_flat(cost))) == 2 * cost
    named = await funds.named(Task.LLM, NODE, cost=_flat(cost))
    assert named.grant.cap.nodes == {NODE: 2 * cost}


async def test_what_a_rest_costs_comes_from_the_account_when_it_comes_to_it(mesh: MeshWorld) -> None:
    """However much that is: no token is needed for it."""
    job = await mesh.submit()
    held = await JobFunds(mesh.tracker, job).get(Task.LLM, cost=_flat(1))
    assert JobFunds(mesh.tracker, job).covers(held, promised_microcredits=1, cost_microcredits=10**12)


async def test_a_job_costs_what_it_did_when_it_was_submitted(mesh: MeshWorld) -> None:
    """The ledger charges it by the prices of then, so no token and no debt counts by new ones."""
    job = await mesh.submit()
    held_back, old, new = await mesh.reserved(job), mesh.tracker.prices, dearer(10)
    async with mesh.tracker.database.write() as connection:
        await add_prices(connection, new)
    await mesh.tracker.refresh_prices()
    funds, counted = JobFunds(mesh.tracker, job), list[PriceTable]()

    def cost(prices: PriceTable) -> int:
        counted.append(prices)
        return held_back

    held = await funds.get(Task.LLM, cost=Sum(cost))
    await funds.cover(cost)
    assert (mesh.tracker.prices, held.prices, counted) == (new, old, [old, old])
    assert held.grant.price == old.version


async def test_an_account_without_the_credits(mesh: MeshWorld) -> None:
    """What it has is taken for what must be paid; a token for more than that is not given."""
    job = await mesh.submit()
    funds, before = JobFunds(mesh.tracker, job), await mesh.reserved(job)
    with pytest.raises(InsufficientCredits):
        await funds.get(Task.LLM, cost=_flat(GIVEN + 1))
    assert await mesh.reserved(job) == before  # nothing moves for a token that is not given
    await funds.cover(lambda _: GIVEN + 1)
    assert await mesh.reserved(job) == GIVEN
    assert await mesh.balance(account_name(mesh.account.id)) == 0


async def test_a_reservation_lasts_as_long_as_its_newest_token(mesh: MeshWorld, clock: TestClock) -> None:
    """And is for whoever signs now: the replica that took the job in may have had another key."""
    job = await mesh.submit()
    clock.advance(RESERVED_S - 60)
    mesh.tracker.dispatch = Identity.from_seed(b"\x07" * 32)
    held = await JobFunds(mesh.tracker, job).get(Task.LLM)
    found = await reservation(mesh, job)
    assert (held.grant.cnf.peer, found.client) == (mesh.tracker.dispatch.peer_id,) * 2
    assert found.expires_at == held.grant.exp == mesh.tracker.now + MAX_GRANT_LIFETIME_S
    assert found.release_at == found.expires_at + SETTLEMENT_PERIOD_S


async def test_no_token_without_a_reservation(mesh: MeshWorld) -> None:
    """It has gone back, or the operator has revoked it."""
    ended, revoked = await mesh.submit(), await mesh.submit()
    await mesh.tracker.desk.cancel(ended)
    with pytest.raises(Conflict, match="gone back"):
        await JobFunds(mesh.tracker, ended).get(Task.LLM)
    async with mesh.tracker.database.write() as connection:
        await revoke_grant(connection, revoked.jti or "", now=mesh.tracker.now)
    with pytest.raises(Forbidden, match="revoked"):
        await JobFunds(mesh.tracker, revoked).get(Task.LLM)
    assert await mesh.reserved(revoked) > 0
