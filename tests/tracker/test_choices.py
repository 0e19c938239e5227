"""Parameters of a query that name one of a few things."""

import pytest
from aiohttp.test_utils import make_mocked_request
from gpunode_protocol.regions import Region
from gpunode_tracker.choices import read_choice
from gpunode_tracker.errors import InvalidRequest


@pytest.mark.parametrize(("query", "expected"), [("", None), ("?region=", None), ("?region=asia", Region.ASIA)])
def test_what_is_named(query: str, expected: Region | None) -> None:
    """Left out and empty is nothing."""
    assert read_choice(make_mocked_request("GET", f"/{query}"), "region", Region) is expected


def test_what_there_is_not() -> None:
    """The answer lists what there is, and repeats little of what was sent."""
    with pytest.raises(InvalidRequest, match="it is one of asia, europe") as refusal:
        read_choice(make_mocked_request("GET", f"/?region={'x' * 1_000}"), "region", Region)
    assert len(str(refusal.value)) < 150
