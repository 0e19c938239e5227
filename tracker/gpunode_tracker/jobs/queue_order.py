"""The order of the queue: priority, then age, with aging so that nothing starves.

Every step of priority is worth ``AGING_MS`` of waiting. So a job has one number for its whole life, the smallest goes
first, and the queue is an index that never has to be sorted anew.
"""

from typing import Final

AGING_MS: Final = 5 * 60_000
"""A job that has waited five minutes longer goes before one whose priority is one step higher: a policy."""


def rank_of(priority: int, created_at_ms: int) -> int:
    """Return a job's rank. priority: 0 to 9, 9 first. created_at_ms: Unix milliseconds."""
    return created_at_ms - priority * AGING_MS


def created_at_ms_of(rank: int, priority: int) -> int:
    """Return when a job of that rank and priority came, Unix milliseconds."""
    return rank + priority * AGING_MS
