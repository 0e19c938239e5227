"""API keys, stored as hashes."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.api_keys import ApiKey, KeyTerms
from gpunode_tracker.entries import account_name
from gpunode_tracker.scopes import in_order, read_scopes
from gpunode_tracker.storage.accounts import Account, secret_hash
from gpunode_tracker.storage.tables import accounts, api_keys

_COLUMNS: Final = (
    api_keys.c.id,
    api_keys.c.account_id,
    api_keys.c.name,
    api_keys.c.scopes,
    api_keys.c.created_at,
    api_keys.c.expires_at,
    api_keys.c.revoked_at,
    api_keys.c.requests_per_minute,
)
_OWNER: Final = (
    accounts.c.name.label("account_name"),
    accounts.c.promotional,
    accounts.c.created_at.label("account_created_at"),
)


@dataclass(frozen=True)
class KeyHolder:
    """Whom a key belongs to, and the key. It need not work any more."""

    account: Account
    key: ApiKey

    @cached_property
    def payer(self) -> str:
        """The account's name in the ledger."""
        return account_name(self.account.id)


async def add_key(connection: AsyncConnection, key: ApiKey, secret: str) -> None:
    """Keep a new key by the hash of its secret."""
    terms = key.terms
    values = {
        "key_hash": secret_hash(secret),
        "id": key.id,
        "account_id": key.account_id,
        "name": terms.name,
        "scopes": None if terms.scopes is None else [str(scope) for scope in in_order(terms.scopes)],
        "created_at": key.created_at,
        "expires_at": terms.expires_at,
        "requests_per_minute": terms.requests_per_minute,
    }
    await connection.execute(insert(api_keys).values(**values))


async def holder_of_key(connection: AsyncConnection, secret: str) -> KeyHolder | None:
    """Return whom an API key belongs to; one statement, whether it works, has ended or is unknown."""
    query = (
        select(*_COLUMNS, *_OWNER)
        .join(accounts, api_keys.c.account_id == accounts.c.id)
        .where(api_keys.c.key_hash == secret_hash(secret))
    )
    row = (await connection.execute(query)).first()
    if row is None:
        return None
    account = Account(row.account_id, row.account_name, row.promotional, row.account_created_at, key_id=row.id)
    return KeyHolder(account, _key(row))


async def find_key(
    connection: AsyncConnection, key_id: str, *, account_id: str | None = None, lock: bool = False
) -> ApiKey | None:
    """Return a key by its public id; None if there is none, or if it is not ``account_id``'s.

    lock: nobody else changes it until the transaction ends.
    """
    query = select(*_COLUMNS).where(api_keys.c.id == key_id)
    if account_id is not None:
        query = query.where(api_keys.c.account_id == account_id)
    row = (await connection.execute(query.with_for_update(key_share=True) if lock else query)).first()
    return _key(row) if row else None


async def keys_by_id(connection: AsyncConnection, key_ids: Sequence[str]) -> Sequence[ApiKey]:
    """Return those keys that there are, in any order."""
    return [_key(row) for row in await connection.execute(select(*_COLUMNS).where(api_keys.c.id.in_(key_ids)))]


async def keys_after(
    connection: AsyncConnection, key_id: str = "", *, account_id: str | None = None, limit: int
) -> Sequence[ApiKey]:
    """Return keys by id, those after ``key_id``; ``account_id``: only that account's."""
    query: Select[Any] = select(*_COLUMNS).where(api_keys.c.id > key_id)
    if account_id is not None:
        query = query.where(api_keys.c.account_id == account_id)
    return [_key(row) for row in await connection.execute(query.order_by(api_keys.c.id).limit(limit))]


async def count_keys(
    connection: AsyncConnection, account_id: str, *, now: int, created_since: int | None = None
) -> int:
    """Return how many keys of an account work, and with ``created_since`` also those that are no older."""
    counted = _works(now) if created_since is None else or_(_works(now), api_keys.c.created_at >= created_since)
    query = select(func.count()).select_from(api_keys).where(api_keys.c.account_id == account_id, counted)
    return int((await connection.execute(query)).scalar_one())


async def end_key(connection: AsyncConnection, key_id: str, *, expires_at: int) -> None:
    """Let a key end at an instant."""
    await connection.execute(update(api_keys).where(api_keys.c.id == key_id).values(expires_at=expires_at))


async def revoke_key(connection: AsyncConnection, key_id: str, *, now: int) -> None:
    """End a key now; one that was revoked before stays as it is."""
    query = update(api_keys).where(api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
    await connection.execute(query.values(revoked_at=now))


def _works(now: int) -> ColumnElement[bool]:
    lasts = or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > now)
    return lasts & api_keys.c.revoked_at.is_(None)


def _key(row: Any) -> ApiKey:
    terms = KeyTerms(
        name=row.name,
        scopes=None if row.scopes is None else read_scopes(row.scopes),
        expires_at=row.expires_at,
        requests_per_minute=row.requests_per_minute,
    )
    return ApiKey(
        id=row.id, account_id=row.account_id, terms=terms, created_at=row.created_at, revoked_at=row.revoked_at
    )
