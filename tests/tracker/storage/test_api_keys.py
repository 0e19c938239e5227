"""API keys in the database."""

from gpunode_tracker.api_keys import ApiKey, KeyTerms
from gpunode_tracker.scopes import DEFAULT_SCOPES, Scope
from gpunode_tracker.storage.accounts import Account, add_account, public_key_id
from gpunode_tracker.storage.api_keys import (
    add_key,
    count_keys,
    end_key,
    find_key,
    holder_of_key,
    keys_after,
    revoke_key,
)
from gpunode_tracker.storage.tables import api_keys
from gpunode_tracker.tracker import Tracker
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH

NOW = START_AT


async def _add(connection: AsyncConnection, secret: str, account: str = "a", **terms: object) -> ApiKey:
    key = ApiKey(id=public_key_id(secret), account_id=account, terms=KeyTerms(**terms), created_at=NOW)  # type: ignore[arg-type]  # -- a test's short way
    await add_key(connection, key, secret)
    return key


async def _accounts(connection: AsyncConnection) -> None:
    for name in ("a", "b"):
        await add_account(connection, Account(name, f"account {name}", name == "b"), created_at=NOW - 5)


async def test_a_key_leads_to_its_account(tracker: Tracker) -> None:
    """With all of its terms; the secret itself is nowhere."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        scopes = frozenset({Scope.LEDGER, Scope.ADMIN})
        key = await _add(connection, "s1", name="ci", scopes=scopes, expires_at=NOW + 9, requests_per_minute=7)
        holder = await holder_of_key(connection, "s1")
        assert holder is not None
        assert holder.key == key
        assert holder.account == Account("a", "account a", False, NOW - 5, key_id=key.id)
        assert await holder_of_key(connection, "s2") is None


async def test_terms_that_were_not_named(tracker: Tracker) -> None:
    """They stay open, whatever comes to be among the scopes."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        key = await _add(connection, "s1", "b")
        found = await find_key(connection, key.id)
        assert found is not None
        assert (found.terms, found.terms.good_for) == (KeyTerms(), DEFAULT_SCOPES)


async def test_scopes_of_a_newer_tracker(tracker: Tracker) -> None:
    """A name that is not known here is good for nothing, and breaks nothing."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        values = {"key_hash": b"x" * 32, "account_id": "a", "created_at": NOW, "id": "k", "name": ""}
        await connection.execute(insert(api_keys).values(scopes=["jobs", "telepathy"], **values))
        found = await find_key(connection, "k")
        assert found is not None
        assert found.terms.good_for == {Scope.JOBS}


async def test_another_accounts_key_is_not_found(tracker: Tracker) -> None:
    """By its id alone it is."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        key = await _add(connection, "s1")
        assert await find_key(connection, key.id, account_id="b") is None
        assert await find_key(connection, key.id, account_id="a", lock=True) == key


async def test_pages(tracker: Tracker) -> None:
    """By id, of one account or of all."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        of_a = sorted([(await _add(connection, f"a{number}")).id for number in range(3)])
        of_b = [(await _add(connection, "b1", "b")).id]
        assert [key.id for key in await keys_after(connection, account_id="a", limit=2)] == of_a[:2]
        assert [key.id for key in await keys_after(connection, of_a[1], account_id="a", limit=2)] == of_a[2:]
        assert [key.id for key in await keys_after(connection, limit=9)] == sorted(of_a + of_b)


async def test_ends(tracker: Tracker) -> None:
    """Keys that have ended do not count among those that work, but are still found, to say so."""
    async with tracker.database.write() as connection:
        await _accounts(connection)
        first, second, third = [await _add(connection, f"s{number}") for number in range(3)]
        await end_key(connection, first.id, expires_at=NOW + 10)
        await revoke_key(connection, second.id, now=NOW + 1)
        await revoke_key(connection, second.id, now=NOW + 2)
        assert await count_keys(connection, "a", now=NOW + 9) == 2
        assert await count_keys(connection, "a", now=NOW + 10) == 1
        assert await count_keys(connection, "a", now=NOW + 10, created_since=NOW) == 3
        assert await count_keys(connection, "a", now=NOW + 10, created_since=NOW + 1) == 1
        assert await count_keys(connection, "b", now=NOW) == 0
        ended = await holder_of_key(connection, "s1")
        assert ended is not None
        assert (ended.key.revoked_at, third.id) == (NOW + 1, public_key_id("s2"))
