"""Ids of requests."""

import re

from gpunode_tracker.request_ids import RequestIds


def test_many_ids_are_different() -> None:
    """Also beyond what the system is asked for at once; each has 16 hex digits."""
    ids = RequestIds()
    made = [ids.next() for _ in range(2_000)]
    assert len(set(made)) == 2_000
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in made)
