"""Where Redis is, as operators write it. No message repeats a URL: it may hold a password."""

from typing import Final
from urllib.parse import parse_qsl, urlsplit

from gpunode_tracker.errors import InvalidSettings

SCHEMES: Final = ("redis", "rediss", "unix")
OPTIONS: Final = frozenset({"client_name", "db", "password", "username"})
"""What may stand behind the ``?``. The client's time-outs, encoding and the like are ours to choose."""
TLS_OPTIONS: Final = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_keyfile"}
)
"""The same of ``rediss``."""


def check_redis_url(url: str) -> None:
    """Check that a URL is one of Redis, before anything is imported that connects to it.

    Raises:
        InvalidSettings: it is not.
    """
    try:
        parts = urlsplit(url)
        is_place = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname) and parts.port != 0
        scheme = parts.scheme if is_place else ""
        given = dict(parse_qsl(parts.query, keep_blank_values=True))
    except ValueError:
        scheme, given = "", {}
    if scheme not in SCHEMES:
        raise InvalidSettings(
            "redis_url is not a URL of Redis; one looks like redis://127.0.0.1:6379/0, rediss://:PASSWORD@HOST:6380/0 "
            "or unix:///run/redis/redis.sock."
        )
    allowed = OPTIONS | TLS_OPTIONS if scheme == "rediss" else OPTIONS
    if not given.keys() <= allowed or not given.get("db", "0").isdecimal():
        raise InvalidSettings(
            f"redis_url has an option that is not known. Behind the ? of {scheme}:// may stand: "
            f"{', '.join(sorted(allowed))}; db is a number."
        )
