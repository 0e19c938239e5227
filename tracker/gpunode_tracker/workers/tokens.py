"""Tokens of pull workers: how they are made, and which are known to be valid without asking the database."""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gpunode_tracker.registration import WORKER_TOKEN_PREFIX
from gpunode_tracker.workers.presence import MAX_LEAD_S

OLD_TOKEN_S: Final = 60
"""After a rotation the token before works so long: what is under way ends well."""


def new_token() -> str:
    """Return a fresh token: 256 random bits."""
    return WORKER_TOKEN_PREFIX + secrets.token_urlsafe(32)


@dataclass(frozen=True)
class TokenHashes:
    """What is kept of a worker's tokens: SHA-256 of each. old_until: Unix seconds; None = there is no older one."""

    current: bytes | None
    old: bytes | None = None
    old_until: int | None = None

    def admits(self, token_hash: bytes, now: float) -> bool:
        """Return whether a token is valid."""
        if token_hash == self.current:
            return True
        if token_hash != self.old or self.old_until is None:
            return False
        # the lower bound: a clock that was set back does not make it valid for longer
        return self.old_until - OLD_TOKEN_S - MAX_LEAD_S <= now < self.old_until


class TokenCache:
    """Tokens of the workers that are there. A token that is not in it may be valid all the same.

    Whoever rotates tokens or lets a worker leave here, says it here; what other replicas do is read by ``live_sync``
    before the 60 s of a rotated token are over.
    """

    def __init__(self) -> None:
        self._worker_of: dict[bytes, str] = {}
        self._hashes_of: dict[str, TokenHashes] = {}

    def __len__(self) -> int:
        """Return how many workers' tokens are known."""
        return len(self._hashes_of)

    def find(self, token_hash: bytes, now: float) -> str | None:
        """Return the id of the worker whose valid token this is, None if that is not known. now: Unix seconds."""
        worker_id = self._worker_of.get(token_hash)
        return worker_id if worker_id is not None and self._hashes_of[worker_id].admits(token_hash, now) else None

    def put(self, worker_id: str, hashes: TokenHashes) -> None:
        """Remember a worker's tokens, and no other ones of it."""
        if self._hashes_of.get(worker_id) == hashes:
            return
        self.forget(worker_id)
        self._hashes_of[worker_id] = hashes
        for each in (hashes.current, hashes.old):
            if each is not None:
                self._worker_of[each] = worker_id

    def forget(self, worker_id: str) -> None:
        """Forget a worker's tokens."""
        known = self._hashes_of.pop(worker_id, None)
        if known is not None:
            for each in (known.current, known.old):
                if each is not None:
                    self._worker_of.pop(each, None)

    def forget_all(self, worker_ids: Iterable[str]) -> None:
        """Forget the tokens of some workers."""
        for worker_id in worker_ids:
            self.forget(worker_id)
