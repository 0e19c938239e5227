"""Requests that go on for long end soon after the API key that they came with."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from gpunode_tracker import Clock
from gpunode_tracker.api_keys import ApiKey
from gpunode_tracker.bans import BanKind, Bans
from gpunode_tracker.errors import Banned, TrackerError, Unauthenticated
from gpunode_tracker.storage.api_keys import keys_by_id
from gpunode_tracker.storage.database import Database

PAGE_KEYS: Final = 500
"""Asked for in one statement: SQLite takes some thousand values."""


class KeyWatch:
    """Knows how the keys are of those requests, as of the last look.

    Args:
        database: where keys are ended, by other processes too.
        bans: who is shut out.
        clock: Unix seconds.
    """

    def __init__(self, database: Database, bans: Bans, clock: Clock) -> None:
        self._database = database
        self._bans = bans
        self._clock = clock
        self._requests: Counter[str] = Counter()
        self._keys: dict[str, ApiKey] = {}

    @contextmanager
    def watching(self, key: ApiKey, address: str) -> Iterator[Callable[[], TrackerError | None]]:
        """Watch the key of a request from an address; yield what says why that must end, None: it may go on."""
        self._requests[key.id] += 1
        self._keys.setdefault(key.id, key)
        try:
            yield partial(self._why_not, key.id, address)
        finally:
            self._requests[key.id] -= 1
            if not self._requests[key.id]:
                del self._requests[key.id], self._keys[key.id]

    def __len__(self) -> int:
        """Return how many keys are watched."""
        return len(self._keys)

    async def look(self) -> None:
        """Read the keys anew, if there are any.

        Raises:
            StorageUnavailable: they count as they were; it is tried again with the next call.
        """
        ids = list(self._keys)
        for start in range(0, len(ids), PAGE_KEYS):
            async with self._database.read() as connection:
                found = await keys_by_id(connection, ids[start : start + PAGE_KEYS])
            self._keys |= {key.id: key for key in found if key.id in self._keys}

    def _why_not(self, key_id: str, address: str) -> TrackerError | None:
        key = self._keys[key_id]
        ended = key.why_not(self._clock())
        if ended is not None:
            return Unauthenticated(ended, ended=True)
        ban = self._bans.find(BanKind.ACCOUNT, key.account_id) or self._bans.find(BanKind.ADDRESS, address)
        return None if ban is None else Banned(ban.words)
