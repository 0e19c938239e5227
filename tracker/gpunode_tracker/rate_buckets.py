"""Where buckets are kept: in this process, in bounded memory, behind an interface that a shared store can take."""

import hashlib
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from gpunode_tracker.rates import Decision, Rate, decide

TABLE_BUCKETS: Final = 20_000
"""Buckets of one budget that are not full; about 4 MB."""
SHARED_BUCKETS: Final = 1_024
SWEEP_PAUSE_S: Final = 1.0
"""A full table is looked through for full buckets at most this often, which takes some milliseconds."""


class RateBuckets(Protocol):
    """Keeps buckets by budget and holder. A store that replicas share decides by its own clock, in one round trip."""

    async def take(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """Take ``cost`` out of a bucket if that much is in it; 0 only looks whether one would be allowed."""
        ...


class MemoryRateBuckets:
    """Buckets of one process.

    A bucket that has filled up says no more than a new one and is dropped. No other is: whoever comes with more
    addresses than a table holds does not get rid of what the first ones have used up. Newcomers at a table without
    room share buckets, picked by a hash with a secret salt, until there is room again.

    Args:
        clock: seconds, monotonic.
        table_buckets: most buckets of their own in a budget.
        shared_buckets: what newcomers share then.
    """

    def __init__(
        self, clock: Callable[[], float], *, table_buckets: int = TABLE_BUCKETS, shared_buckets: int = SHARED_BUCKETS
    ) -> None:
        self._clock = clock
        self._table_buckets = table_buckets
        self._shared_buckets = shared_buckets
        self._salt = secrets.token_bytes(16)
        self._tables: dict[str, _Table] = {}

    async def take(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """See ``RateBuckets``."""
        return self.take_now(budget, holder, rate, cost)

    def take_now(self, budget: str, holder: str, rate: Rate, cost: int = 1) -> Decision:
        """Do the same at once."""
        now = self._clock()
        table = self._tables.get(budget)
        if table is None:
            table = self._tables[budget] = _Table()
        place: str | int = holder
        known = table.full_at.get(holder)
        if known is None:
            place = self._place(table, holder, now)
            known = table.full_at.get(place, now)
        full_at, decision = decide(rate, known, now, cost)
        if full_at > now:
            table.full_at[place] = full_at
        else:
            table.full_at.pop(place, None)
        return decision

    def is_full(self, budget: str, holder: str) -> bool:
        """Return whether nobody has taken from a bucket lately; False: that would have to be looked into."""
        table = self._tables.get(budget)
        return table is None or (holder not in table.full_at and len(table.full_at) < self._table_buckets)

    def __len__(self) -> int:
        """Return how many buckets are kept."""
        return sum(len(table.full_at) for table in self._tables.values())

    def _place(self, table: "_Table", holder: str, now: float) -> str | int:
        """Return where the bucket of a holder is that has none of its own yet."""
        if len(table.full_at) >= self._table_buckets and now >= table.sweep_at:
            table.full_at = {place: full_at for place, full_at in table.full_at.items() if full_at > now}
            table.sweep_at = now + SWEEP_PAUSE_S
        if len(table.full_at) < self._table_buckets:
            return holder
        digest = hashlib.blake2b(holder.encode(errors="surrogateescape"), key=self._salt, digest_size=8).digest()
        return int.from_bytes(digest, "big") % self._shared_buckets


class _Table:
    """Buckets of one budget by holder, the shared ones by number; and when it may be swept next."""

    def __init__(self) -> None:
        self.full_at: dict[str | int, float] = {}
        self.sweep_at = 0.0
