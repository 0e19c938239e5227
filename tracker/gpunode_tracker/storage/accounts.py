"""Accounts; and how secrets are stored."""

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.locks import is_postgresql
from gpunode_tracker.storage.tables import accounts

API_KEY_PREFIX = "gpn_"
"""So that scanners recognise a leaked key."""


@dataclass(frozen=True)
class Account:
    """An account. promotional: its credits pay nodes nothing spendable.

    created_at: Unix seconds, 0 before it is stored. key_id: of the API key that it came with, empty where it came
    without.
    """

    id: str
    name: str
    promotional: bool
    created_at: int = 0
    key_id: str = ""


def secret_hash(secret: str) -> bytes:
    """Return what is stored of an API key or worker token: SHA-256 is enough for 256 random bits."""
    # headers that are not UTF-8 come with surrogates: no secret of ours, but bytes like any others
    return hashlib.sha256(secret.encode(errors="surrogateescape")).digest()


def public_key_id(key: str) -> str:
    """Return how an API key is named in lists and logs: 16 hex digits of its hash, which tell nothing of the key."""
    return secret_hash(key).hex()[:16]


async def add_account(connection: AsyncConnection, account: Account, *, created_at: int) -> None:
    """Keep a new account."""
    values = {"id": account.id, "name": account.name, "promotional": account.promotional, "created_at": created_at}
    await connection.execute(insert(accounts).values(**values))


async def find_account(connection: AsyncConnection, account_id: str, *, lock: bool = False) -> Account | None:
    """Return an account; ``lock`` keeps others from reserving its credits until the transaction ends."""
    query = _accounts().where(accounts.c.id == account_id)
    row = (await connection.execute(query.with_for_update(key_share=True) if lock else query)).first()
    return Account(*row) if row else None


async def lock_account(connection: AsyncConnection, account_id: str) -> None:
    """Keep others from reserving an account's credits until the transaction ends (writers of SQLite take turns)."""
    if is_postgresql(connection):
        await find_account(connection, account_id, lock=True)


async def accounts_named(connection: AsyncConnection, name: str) -> list[Account]:
    """Return the accounts of exactly this name, oldest first; anybody may choose any name."""
    query = _accounts().where(accounts.c.name == name)
    return [Account(*row) for row in await connection.execute(query.order_by(accounts.c.created_at))]


async def all_accounts(connection: AsyncConnection) -> list[Account]:
    """Return all accounts, oldest first."""
    return [Account(*row) for row in await connection.execute(_accounts().order_by(accounts.c.created_at))]


async def accounts_after(
    connection: AsyncConnection, account_id: str = "", *, name: str | None = None, limit: int
) -> list[Account]:
    """Return accounts by id, those after ``account_id``; ``name``: only those of exactly this name."""
    query = _accounts().where(accounts.c.id > account_id)
    if name is not None:
        query = query.where(accounts.c.name == name)
    return [Account(*row) for row in await connection.execute(query.order_by(accounts.c.id).limit(limit))]


def _accounts() -> Select[Any]:
    return select(accounts.c.id, accounts.c.name, accounts.c.promotional, accounts.c.created_at)
