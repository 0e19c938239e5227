"""Making, replacing and ending API keys, each with its line in the audit log."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker import Clock
from gpunode_tracker.api_keys import ApiKey, KeyState, KeyTerms, utc_words
from gpunode_tracker.audit import Action, Actor
from gpunode_tracker.errors import Forbidden, InvalidRequest, NotFound
from gpunode_tracker.scopes import in_order
from gpunode_tracker.storage import accounts, api_keys, audit
from gpunode_tracker.storage.database import Database

MAX_OWN_KEYS: Final = 100
"""An account has at most this many keys by its own making, counting those that work and those of the last day."""
MAX_NAME_CHARS: Final = 100
_DAY_S: Final = 24 * 3600


@dataclass(frozen=True)
class MadeKey:
    """A new key; the secret can be shown only now."""

    key: ApiKey
    secret: str


@dataclass(frozen=True)
class KeyDesk:
    """The keys of one tracker.

    Args:
        database: where they are kept.
        clock: Unix seconds.
        actor: who acts.
        asking: the key that acts on its own account's keys, which it must not exceed; None = the operator's doing.
    """

    database: Database
    clock: Clock
    actor: Actor
    asking: ApiKey | None = None

    async def create(self, account_id: str, terms: KeyTerms) -> MadeKey:
        """Make a key for an account.

        Raises:
            NotFound: no such account. InvalidRequest: it would have ended already, or its name cannot be shown.
            Forbidden: it would be good for more than the key that asks, or the account has enough of them.
        """
        if len(terms.name) > MAX_NAME_CHARS or not terms.name.isprintable():
            raise InvalidRequest(f"A key's name has at most {MAX_NAME_CHARS} printable characters.")
        if self.asking is not None:
            terms = terms.within(self.asking.terms)
            self._refuse_excess(terms)
        now = self._now
        if terms.expires_at is not None and terms.expires_at <= now:
            raise InvalidRequest(f"The key would have ended already, at {utc_words(terms.expires_at)}.")
        async with self.database.write() as connection:
            if await accounts.find_account(connection, account_id, lock=True) is None:
                raise no_account(account_id)
            await self._refuse_too_many(connection, account_id)
            made = await _add(connection, account_id, terms, now)
            await self._note(connection, Action.KEY_CREATED, made.key, _words(terms))
        return made

    async def rotate(self, key_id: str, *, grace_s: int) -> tuple[MadeKey, ApiKey]:
        """Make a key in the place of another one, which ends ``grace_s`` seconds later; return the new and the old.

        Raises:
            NotFound: no such key. InvalidRequest: it has ended. Forbidden: it is good for more than the key that asks.
        """
        now = self._now
        async with self.database.write() as connection:
            old = await self._find(connection, key_id)
            if old.state(now) is not KeyState.ACTIVE:
                raise InvalidRequest(f"The key {key_id} is {old.state(now)} already. Make a new one instead.")
            self._refuse_excess(old.terms)
            await self._refuse_too_many(connection, old.account_id)
            made = await _add(connection, old.account_id, old.terms, now)
            ends_at = now + grace_s if old.terms.expires_at is None else min(old.terms.expires_at, now + grace_s)
            await api_keys.end_key(connection, old.id, expires_at=ends_at)
            await self._note(connection, Action.KEY_ROTATED, old, {"new_key": made.key.id, "ends_at": ends_at})
        return made, replace(old, terms=replace(old.terms, expires_at=ends_at))

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key at once; again changes nothing.

        Raises:
            NotFound: no such key. Forbidden: it is good for more than the key that asks.
        """
        now = self._now
        async with self.database.write() as connection:
            key = await self._find(connection, key_id)
            if self.asking is not None and not key.terms.good_for <= self.asking.terms.good_for:
                raise Forbidden("That key is good for more than yours. Use one with its scopes, or ask the operator.")
            if key.revoked_at is None:
                await api_keys.revoke_key(connection, key.id, now=now)
                await self._note(connection, Action.KEY_REVOKED, key, {})
        return replace(key, revoked_at=now if key.revoked_at is None else key.revoked_at)

    async def page(self, *, account_id: str | None = None, after_id: str = "", limit: int) -> Sequence[ApiKey]:
        """Return keys by id, those after ``after_id``; ``account_id``: only that account's."""
        async with self.database.read() as connection:
            return await api_keys.keys_after(connection, after_id, account_id=account_id, limit=limit)

    async def _find(self, connection: AsyncConnection, key_id: str) -> ApiKey:
        account_id = self.asking.account_id if self.asking is not None else None
        found = await api_keys.find_key(connection, key_id, account_id=account_id, lock=True)
        if found is None:
            raise NotFound(
                f"There is no API key with the id {key_id}. Its id is not the key itself: 'gpunode tracker list-keys' "
                "and GET /api/v1/keys list the ids."
            )
        return found

    def _refuse_excess(self, terms: KeyTerms) -> None:
        excess = terms.excess_over(self.asking.terms) if self.asking is not None else None
        if excess is not None:
            raise Forbidden(f"That key would allow {excess}, beyond what yours does. Ask for less, or the operator.")

    async def _refuse_too_many(self, connection: AsyncConnection, account_id: str) -> None:
        if self.asking is None:
            return
        now = self._now
        count = await api_keys.count_keys(connection, account_id, now=now, created_since=now - _DAY_S)
        if count >= MAX_OWN_KEYS:
            raise Forbidden(
                f"The account has {count} keys that work or were made within a day; it may make {MAX_OWN_KEYS}. Revoke "
                "some and make new ones tomorrow, or ask the operator."
            )

    async def _note(self, connection: AsyncConnection, action: Action, key: ApiKey, detail: dict[str, Any]) -> None:
        detail = {"account": key.account_id, **detail}
        await audit.record(
            connection, self.actor.name, action, f"key:{key.id}", detail, self.actor.address, at=self._now
        )

    @property
    def _now(self) -> int:
        return int(self.clock())


async def _add(connection: AsyncConnection, account_id: str, terms: KeyTerms, now: int) -> MadeKey:
    secret = accounts.API_KEY_PREFIX + secrets.token_urlsafe(32)
    key = ApiKey(id=accounts.public_key_id(secret), account_id=account_id, terms=terms, created_at=now)
    await api_keys.add_key(connection, key, secret)
    return MadeKey(key, secret)


def _words(terms: KeyTerms) -> dict[str, Any]:
    return {
        "name": terms.name,
        "scopes": [str(scope) for scope in in_order(terms.good_for)],
        "expires_at": terms.expires_at,
        "requests_per_minute": terms.requests_per_minute,
    }


def no_account(text: str) -> NotFound:
    """Return the error for an account that does not exist."""
    return NotFound(f"There is no account {text}. 'gpunode tracker show' lists all.")
