"""Whom a key or token belongs to, remembered for seconds: every request asks, and it hardly ever changes."""

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Generic, TypeVar

V = TypeVar("V")

LIFETIME_S: Final = 3.0
"""What another process changed, by the operator's commands or as a replica, is seen after this at the latest."""
ENTRIES: Final = 20_000
"""About 20 MB; the ones that were looked up first make room."""


@dataclass(frozen=True)
class _Entry(Generic[V]):
    value: V
    owner: str
    ends_at: float


class LookupCache(Generic[V]):
    """Remembers found values by a hash of the secret; what was not found is looked up again each time.

    Args:
        clock: seconds, monotonic.
        owner_of: names what ``forget`` takes, such as a key's id.
        lifetime_s, entries: how long and how many are remembered.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        owner_of: Callable[[V], str],
        *,
        lifetime_s: float = LIFETIME_S,
        entries: int = ENTRIES,
    ) -> None:
        self._clock = clock
        self._owner_of = owner_of
        self._lifetime_s = lifetime_s
        self._most_entries = entries
        self._entries: dict[bytes, _Entry[V]] = {}
        self._secrets_of: dict[str, set[bytes]] = {}
        self._changes = 0
        self._hash = blake2b(key=secrets.token_bytes(32), digest_size=32)

    async def find(self, secret: str, look_up: Callable[[], Awaitable[V | None]]) -> V | None:
        """Return what a secret belongs to; ``look_up`` asks the database when it is not remembered."""
        known = self.known(secret)
        if known is not None:
            return known
        name, now = self._name_of(secret), self._clock()
        changes = self._changes
        found = await look_up()
        if found is not None and changes == self._changes:  # else it may have been read before the change
            self._drop(name)
            self._keep(name, _Entry(found, self._owner_of(found), now + self._lifetime_s))
        return found

    def known(self, secret: str) -> V | None:
        """Return what a secret belongs to, None if that is not remembered."""
        entry = self._entries.get(self._name_of(secret))
        return entry.value if entry is not None and self._clock() < entry.ends_at else None

    def forget(self, owner: str) -> None:
        """Look the secrets of an owner up anew, because something about it was changed."""
        self._changes += 1
        for name in tuple(self._secrets_of.get(owner, ())):
            self._drop(name)

    def __len__(self) -> int:
        """Return how many secrets are remembered."""
        return len(self._entries)

    def _name_of(self, secret: str) -> bytes:
        """Return by what a secret is known here; takes less time than the database's SHA-256."""
        own = self._hash.copy()
        own.update(secret.encode("utf-8", "surrogateescape"))
        return own.digest()

    def _keep(self, name: bytes, entry: _Entry[V]) -> None:
        if len(self._entries) >= self._most_entries:
            self._drop(next(iter(self._entries)))
        self._entries[name] = entry
        self._secrets_of.setdefault(entry.owner, set()).add(name)

    def _drop(self, name: bytes) -> None:
        entry = self._entries.pop(name, None)
        if entry is not None:
            names = self._secrets_of[entry.owner]
            names.discard(name)
            if not names:
                del self._secrets_of[entry.owner]
