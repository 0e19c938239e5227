"""URLs of Redis."""

import pytest
from gpunode_tracker.errors import InvalidSettings
from gpunode_tracker.shared.redis_link import RedisLink
from gpunode_tracker.shared.redis_urls import check_redis_url


@pytest.mark.parametrize("url", ["", "http://h", "127.0.0.1:6379", "redis://h:port:hunter2", "redis://", "unix://"])
def test_what_is_no_url_of_redis(url: str) -> None:
    """It is refused with examples, and not repeated."""
    with pytest.raises(InvalidSettings, match="redis://127") as refused:
        check_redis_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?protocol=3",
        "redis://h?decode_responses=true",
        "redis://h?socket_timeout=hunter2",
        "redis://h?ssl_ca_certs=hunter2",
        "unix:///run/r.sock?db=hunter2",
        "redis://h?hunter2=",
    ],
)
def test_options_that_are_not_known(url: str) -> None:
    """They would change what the tracker relies on, or fail with the first call; the known ones are named."""
    with pytest.raises(InvalidSettings, match="client_name, db, password") as refused:
        check_redis_url(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "redis://:p%40ss@127.0.0.1:6379/3",
        "rediss://u:p@h:1/0",
        "unix:///run/r.sock?db=2",
        "redis://h/1?client_name=tracker",
        "rediss://h?ssl_ca_certs=ca.pem&ssl_check_hostname=true",
        "redis://[::1]:6379",
    ],
)
async def test_what_is_taken_can_be_used(url: str) -> None:
    """The client reads it too."""
    check_redis_url(url)
    await RedisLink(url, "gpunode:test").stop()
