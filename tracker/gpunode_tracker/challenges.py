"""Challenges for registration and link: made without writing anything, checked by their MAC, used once."""

import hashlib
import hmac
import secrets

from gpunode_tracker import Clock
from gpunode_tracker.errors import InvalidRequest

CHALLENGE_LIFETIME_S = 60
SECRET_BYTES = 32
_TIME_BYTES, _RANDOM_BYTES, _MAC_BYTES = 8, 16, 24


class Challenges:
    """Issues and recognises challenges; who uses one must note it (``storage.nodes.use_challenge``)."""

    def __init__(self, secret: bytes, clock: Clock) -> None:
        """secret: 32 bytes that only the tracker and its replicas know."""
        self._secret = secret
        self._clock = clock

    def new(self) -> tuple[bytes, int]:
        """Return a challenge and its expiry in Unix seconds."""
        expires_at = int(self._clock()) + CHALLENGE_LIFETIME_S
        head = expires_at.to_bytes(_TIME_BYTES, "big") + secrets.token_bytes(_RANDOM_BYTES)
        return head + self._mac(head), expires_at

    def check(self, challenge: bytes) -> int:
        """Return the expiry of a challenge of ours.

        Raises:
            InvalidRequest: it is not ours or has expired.
        """
        head, mac = challenge[:-_MAC_BYTES], challenge[-_MAC_BYTES:]
        if len(head) != _TIME_BYTES + _RANDOM_BYTES or not hmac.compare_digest(mac, self._mac(head)):
            raise InvalidRequest("The challenge is not one of this tracker's. Ask for a new one and sign that.")
        expires_at = int.from_bytes(head[:_TIME_BYTES], "big")
        if expires_at < self._clock():
            raise InvalidRequest("The challenge has expired: it lasts 60 seconds. Ask for a new one.")
        return expires_at

    def _mac(self, head: bytes) -> bytes:
        return hmac.digest(self._secret, head, hashlib.sha256)[:_MAC_BYTES]
