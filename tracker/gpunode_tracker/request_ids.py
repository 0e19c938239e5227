"""Ids of requests: random, and so many of them that the system is asked for randomness once for hundreds."""

import os
from typing import Final

from multidict import istr

REQUEST_ID_HEADER: Final = istr("X-Request-ID")
ID_BYTES: Final = 8
_AT_ONCE: Final = 512


class RequestIds:
    """Makes ids of 16 hex digits. They name requests in logs and protect nothing."""

    def __init__(self) -> None:
        self._bytes = b""
        self._at = 0

    def next(self) -> str:
        """Return a new one."""
        if self._at >= len(self._bytes):
            self._bytes, self._at = os.urandom(ID_BYTES * _AT_ONCE), 0
        start, self._at = self._at, self._at + ID_BYTES
        return self._bytes[start : self._at].hex()
