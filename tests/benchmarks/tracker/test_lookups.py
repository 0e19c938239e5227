import pytest
from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.http_line import http_line
from gpunode_benchmarks.tracker.lookups import OPEN, WITH_KEY, lookup_paths, lookup_request, measure_lookup

from tests.benchmarks.tracker.conftest import Served


async def test_all_lookups_are_answered(served: Served) -> None:
    """By a tracker with an account's key."""
    paths = lookup_paths(served.filled)
    assert tuple(paths) == (*OPEN, WITH_KEY)
    async with http_line(served.server.address) as line:
        for path in paths.values():
            assert await line.ask(lookup_request(path, served.filled.api_key))


async def test_both_sides_have_a_pace_a_round(served: Served, small: Effort) -> None:
    """Here the tracker is both sides."""
    request = lookup_request(lookup_paths(served.filled)["regions"], served.filled.api_key)
    rounds = await measure_lookup(served.server, served.server, request, small)
    assert len(rounds.tracker) == len(rounds.bare)
    assert min(pace.per_s for pace in rounds.tracker + rounds.bare) > 0
    assert rounds.body_bytes == pytest.approx(1_000, rel=0.5)
