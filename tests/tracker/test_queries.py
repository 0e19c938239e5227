"""Parts of URLs."""

import pytest
from aiohttp.test_utils import make_mocked_request
from gpunode_protocol.regions import Region
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.queries import read_choice, read_id, read_limit, read_text
from yarl import URL


def _request(query: str) -> object:
    return make_mocked_request("GET", str(URL(f"/x?{query}")))


def test_choices() -> None:
    """One of the names, or none; another one is not repeated."""
    assert read_choice(_request("region=asia"), "region", Region) is Region.ASIA  # type: ignore[arg-type]  # -- mocked
    assert read_choice(_request("region="), "region", Region) is None  # type: ignore[arg-type]  # -- mocked
    with pytest.raises(InvalidRequest, match="it is one of asia") as caught:
        read_choice(_request("region=atlantis"), "region", Region)  # type: ignore[arg-type]  # -- mocked
    assert "atlantis" not in str(caught.value)


def test_texts() -> None:
    """Printable, and not too long."""
    assert read_text(_request("a=b%20c"), "a", max_chars=3) == "b c"  # type: ignore[arg-type]  # -- mocked
    assert read_text(_request(""), "a", max_chars=3) is None  # type: ignore[arg-type]  # -- mocked
    for query in ("a=abcd", "a=%00", "a=%1b", "a=%0a"):
        with pytest.raises(InvalidRequest, match="at most 3 printable"):
            read_text(_request(query), "a", max_chars=3)  # type: ignore[arg-type]  # -- mocked


@pytest.mark.parametrize(("query", "limit"), [("", 7), ("limit=1", 1), ("limit=9", 9)])
def test_lengths_of_pages(query: str, limit: int) -> None:
    """The usual one if none is named."""
    assert read_limit(_request(query), 7, highest=9) == limit  # type: ignore[arg-type]  # -- mocked


@pytest.mark.parametrize("text", ["0", "10", "-1", "1.5", "", "x", "9" * 30])
def test_lengths_that_no_page_has(text: str) -> None:
    """A page of nothing would be the last one, whatever is left; the refusal says what there is."""
    with pytest.raises(InvalidRequest, match="limit is a whole number from 1 to 9"):
        read_limit(_request(f"limit={text}"), 7, highest=9)  # type: ignore[arg-type]  # -- mocked


@pytest.mark.parametrize("text", ["", "a b", "a\0", "a/b", "x" * 65, "é"])
def test_ids(text: str) -> None:
    """What looks like no id is one of nothing."""
    request = make_mocked_request("GET", "/x", match_info={"key": text})
    with pytest.raises(NotFound, match="no such key"):
        read_id(request, "key")
    assert read_id(make_mocked_request("GET", "/x", match_info={"key": "a-B_9"}), "key") == "a-B_9"
