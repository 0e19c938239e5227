"""Where Redis is, as operators write it. No message repeats a URL: it may hold a password."""

from typing import Final
from urllib.parse import urlsplit

from gpunode_tracker.errors import InvalidSettings

SCHEMES: Final = ("redis", "rediss", "unix")


def check_redis_url(url: str) -> None:
    """Check that a URL is one of Redis, before anything is imported that connects to it.

    Raises:
        InvalidSettings: it is not.
    """
    try:
        parts = urlsplit(url)
        is_place = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
        readable = parts.scheme in SCHEMES and is_place
    except ValueError:
        readable = False
    if not readable:
        raise InvalidSettings(
            "redis_url is not a URL of Redis; one looks like redis://127.0.0.1:6379/0, rediss://:PASSWORD@HOST:6380/0 "
            "or unix:///run/redis/redis.sock."
        )
