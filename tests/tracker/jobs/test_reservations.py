"""What a queued job may cost is set aside, and the rest goes back once."""

import pytest
from gpunode_protocol.grants import MAX_GRANT_LIFETIME_S, GrantChecks, check_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.tasks import Task
from gpunode_tracker.entries import account_name, reserved_name
from gpunode_tracker.errors import InsufficientCredits
from gpunode_tracker.jobs.reservations import RESERVED_S, Reserver, grant_for
from gpunode_tracker.storage.grants import SETTLEMENT_PERIOD_S, StoredGrant, find_grant

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import Queue

NODE, CLIENT = Identity.from_seed(b"\x03" * 32).peer_id, Identity.from_seed(b"\x04" * 32).peer_id


def reserver(queue: Queue) -> Reserver:
    """Return one at the present moment."""
    return Reserver(queue.tracker.dispatch.peer_id, queue.tracker.keys.network, queue.tracker.now)


async def reserve(queue: Queue, account: str, microcredits: int) -> str:
    """Reserve for a chat."""
    async with queue.tracker.database.write() as connection:
        return await reserver(queue).reserve(connection, account, Task.LLM, microcredits, price_version=1)


async def found(queue: Queue, jti: str) -> StoredGrant:
    """Return a reservation."""
    async with queue.tracker.database.read() as connection:
        grant = await find_grant(connection, jti)
    assert grant is not None
    return grant


async def test_a_reservation_is_a_grant_of_the_dispatch(world: World, queue: Queue) -> None:
    """So that settling and upkeep know it already."""
    account, _ = await world.account()
    grant = await found(queue, await reserve(queue, account, 7))
    now = queue.tracker.now
    assert (grant.reserved, grant.account_id, grant.node_caps) == (7, account, None)
    assert (grant.expires_at, grant.release_at) == (now + RESERVED_S, now + RESERVED_S + SETTLEMENT_PERIOD_S)
    assert await queue.balance(reserved_name(grant.jti)) == 7


async def test_more_than_there_is(world: World, queue: Queue) -> None:
    """One micro-credit too much."""
    account, _ = await world.account(credits_given=1)
    with pytest.raises(InsufficientCredits):
        await reserve(queue, account, 1_000_001)
    await reserve(queue, account, 1_000_000)
    assert await queue.balance(account_name(account)) == 0


async def test_giving_back_twice(world: World, queue: Queue) -> None:
    """What is left goes back once; what was never reserved, never."""
    account, _ = await world.account(credits_given=1)
    jti = await reserve(queue, account, 400_000)
    for _ in range(2):
        async with queue.tracker.database.write() as connection:
            await reserver(queue).give_back(connection, jti)
            await reserver(queue).give_back(connection, None)
    assert await queue.balance(account_name(account)) == 1_000_000
    assert (await found(queue, jti)).returned_at == queue.tracker.now


async def test_ending_soon_never_delays(world: World, queue: Queue) -> None:
    """It brings the return forward only."""
    account, _ = await world.account(credits_given=1)
    jti = await reserve(queue, account, 5)
    async with queue.tracker.database.write() as connection:
        await reserver(queue).end_soon(connection, jti)
        await Reserver(CLIENT, "", queue.tracker.now + 60).end_soon(connection, jti)
        await reserver(queue).end_soon(connection, None)
    assert (await found(queue, jti)).release_at == queue.tracker.now + SETTLEMENT_PERIOD_S


def stored(**changes: int) -> StoredGrant:
    """Return a reservation of 100 micro-credits, made at second 1,000."""
    fields = {"issued_at": 1_000, "expires_at": 1_000 + RESERVED_S, "release_at": 1_000 + RESERVED_S}
    return StoredGrant(
        jti="j",
        account_id="a",
        client=CLIENT,
        tasks=("llm",),
        node_caps=None,
        reserved=100,
        price_version=3,
        **{**fields, **changes},
    )


def test_a_token_for_one_node() -> None:
    """All that is left is promised to it, and nobody else may use the token."""
    grant = grant_for(stored(), 60, network="ab" * 20, node=NODE, now=2_000)
    assert (grant.jti, grant.price, grant.cap_at_microcredits(NODE), grant.cap_at_microcredits(CLIENT)) == (
        "j",
        3,
        60,
        0,
    )
    check_grant(grant, GrantChecks(network="ab" * 20, client=CLIENT, node=NODE, task=Task.LLM, now=2_000))
    assert grant.exp - grant.iat == MAX_GRANT_LIFETIME_S


def test_a_token_for_any_node() -> None:
    """In order of arrival; no token outlives its reservation."""
    grant = grant_for(stored(expires_at=2_100), 60, network="ab" * 20, node=None, now=2_000)
    assert (grant.cap_at_microcredits(NODE), grant.exp) == (60, 2_100)
