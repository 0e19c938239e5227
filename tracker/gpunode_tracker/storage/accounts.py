"""Accounts and their API keys."""

import hashlib
from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.storage.tables import accounts, api_keys

API_KEY_PREFIX = "gpn_"
"""So that scanners recognise a leaked key."""


@dataclass(frozen=True)
class Account:
    """An account; promotional: its credits pay nodes nothing spendable."""

    id: str
    name: str
    promotional: bool


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


async def add_api_key(connection: AsyncConnection, account_id: str, key: str, *, created_at: int) -> None:
    """Keep the hash of a new API key."""
    values = {
        "key_hash": secret_hash(key),
        "account_id": account_id,
        "created_at": created_at,
        "id": public_key_id(key),
        "name": "",
    }
    await connection.execute(insert(api_keys).values(**values))


async def find_account(connection: AsyncConnection, account_id: str, *, lock: bool = False) -> Account | None:
    """Return an account; ``lock`` keeps others from reserving its credits until the transaction ends."""
    query = select(accounts.c.id, accounts.c.name, accounts.c.promotional).where(accounts.c.id == account_id)
    row = (await connection.execute(query.with_for_update(key_share=True) if lock else query)).first()
    return Account(*row) if row else None


async def accounts_named(connection: AsyncConnection, name: str) -> list[Account]:
    """Return the accounts of exactly this name, oldest first; anybody may choose any name."""
    query = select(accounts.c.id, accounts.c.name, accounts.c.promotional).where(accounts.c.name == name)
    return [Account(*row) for row in await connection.execute(query.order_by(accounts.c.created_at))]


async def account_of_key(connection: AsyncConnection, key: str) -> Account | None:
    """Return the account of an API key."""
    query = (
        select(accounts.c.id, accounts.c.name, accounts.c.promotional)
        .join(api_keys, api_keys.c.account_id == accounts.c.id)
        .where(api_keys.c.key_hash == secret_hash(key))
    )
    row = (await connection.execute(query)).first()
    return Account(*row) if row else None


async def all_accounts(connection: AsyncConnection) -> list[Account]:
    """Return all accounts, oldest first."""
    query = select(accounts.c.id, accounts.c.name, accounts.c.promotional).order_by(accounts.c.created_at)
    return [Account(*row) for row in await connection.execute(query)]
