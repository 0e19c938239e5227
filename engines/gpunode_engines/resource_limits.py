"""Limits that a process sets itself, where the system has them (Unix)."""

from importlib.util import find_spec
from typing import Final, Literal

HAS_LIMITS: Final = find_spec("resource") is not None

Kind = Literal["CORE", "DATA", "FSIZE", "NOFILE", "NPROC"]
"""As getrlimit(2) names them."""


def limit(kind: Kind, most: int) -> None:
    """Set a limit for good; one that is lower already stays. Nothing where there are none. Raises OSError."""
    if not HAS_LIMITS:
        return
    import resource  # noqa: PLC0415 -- see HAS_LIMITS

    number = int(getattr(resource, f"RLIMIT_{kind}"))
    _, hard = resource.getrlimit(number)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(number, (value, value))
