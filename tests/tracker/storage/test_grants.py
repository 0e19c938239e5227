"""The storage of grants keeps what settlement needs (their HTTP behaviour: test_granting)."""

from gpunode_tracker.storage import grants
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.storage.jobs import add_job
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH, ON_POSTGRESQL
from tests.tracker.parties import START_AT
from tests.tracker.storage.queued_jobs import add_jobs, queued_job


def _grant(jti: str, **changes: object) -> grants.StoredGrant:
    fields = {
        "jti": jti,
        "account_id": "a",
        "client": "c",
        "tasks": ["llm"],
        "node_caps": None,
        "reserved": 5,
        "price_version": 1,
        "issued_at": START_AT,
        "expires_at": START_AT + 60,
        "release_at": START_AT + 60 + grants.SETTLEMENT_PERIOD_S,
    }
    return grants.StoredGrant(**(fields | changes))  # type: ignore[arg-type]  # -- any field


@ON_BOTH
async def test_grants_read_back(tracker: Tracker) -> None:
    """Open and named caps alike."""
    async with tracker.database.write() as connection:
        await add_account(connection, Account("a", "a", False), created_at=START_AT)
        for grant in (_grant("open"), _grant("named", node_caps={"n": 3})):
            await grants.add_grant(connection, grant)
            assert await grants.find_grant(connection, grant.jti, lock=True) == grant
        assert await grants.find_grant(connection, "other") is None


@ON_BOTH
async def test_revocation_and_return(tracker: Tracker) -> None:
    """A live grant can be revoked once; it is due two hours later, and once."""
    async with tracker.database.write() as connection:
        await add_account(connection, Account("a", "a", False), created_at=START_AT)
        await grants.add_grant(connection, _grant("g"))
        now = START_AT + 10
        assert await grants.revoke_grant(connection, "g", now=now)
        assert not await grants.revoke_grant(connection, "g", now=now)
        assert not await grants.revoke_grant(connection, "none", now=now)
        assert await grants.revoked_grants(connection, now=now) == ["g"]
        assert await grants.revoked_grants(connection, now=START_AT + 60) == []
        due_at = now + grants.SETTLEMENT_PERIOD_S
        assert await grants.grants_to_return(connection, now=due_at - 1, limit=9) == []
        assert [grant.jti for grant in await grants.grants_to_return(connection, now=due_at, limit=9)] == ["g"]
        await grants.mark_returned(connection, "g", now=due_at)
        assert await grants.grants_to_return(connection, now=due_at, limit=9) == []


@ON_POSTGRESQL
async def test_what_is_being_settled_is_not_returned(tracker: Tracker) -> None:
    """Where writers do not take turns, a reservation is not returned and paid out at the same time: it waits."""
    async with tracker.database.write() as connection:
        await add_account(connection, Account("a", "a", False), created_at=START_AT)
        for jti in ("busy", "idle"):
            await grants.add_grant(connection, _grant(jti))
    due_at = START_AT + 60 + grants.SETTLEMENT_PERIOD_S
    async with tracker.database.write() as settling, tracker.database.write() as returning:
        assert set(await grants.lock_grants(settling, {"busy", "other"})) == {"busy"}
        assert [grant.jti for grant in await grants.grants_to_return(returning, now=due_at, limit=9)] == ["idle"]


@ON_BOTH
async def test_an_accounts_direct_grants_end(tracker: Tracker) -> None:
    """Live ones only, no other account's, and none that pays a queued job."""
    async with tracker.database.write() as connection:
        await add_jobs(connection, [])
        await add_account(connection, Account("b", "b", False), created_at=START_AT)
        for grant in (_grant("direct"), _grant("queued"), _grant("other", account_id="b")):
            await grants.add_grant(connection, grant)
        await grants.add_grant(connection, _grant("over", expires_at=START_AT + 5))
        await add_job(connection, queued_job(1, jti="queued"))
        await grants.revoke_direct_grants(connection, "a", now=START_AT + 10)
        assert await grants.revoked_grants(connection, now=START_AT + 10) == ["direct"]
        ended = await grants.find_grant(connection, "direct")
        assert ended is not None
        assert ended.release_at == START_AT + 10 + grants.SETTLEMENT_PERIOD_S
