"""API keys: what one is good for, until when, and which one may make which. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Self

from gpunode_tracker.scopes import DEFAULT_SCOPES, Scope


class KeyState(StrEnum):
    """Whether a key works."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, kw_only=True)
class KeyTerms:
    """What a key may do.

    Args:
        name: for people.
        scopes: None = all but administration, whatever comes to be in it.
        expires_at: Unix seconds; None = never.
        requests_per_minute: of this key alone, >= 1; None = only the tracker's limits count.
    """

    name: str = ""
    scopes: frozenset[Scope] | None = None
    expires_at: int | None = None
    requests_per_minute: int | None = None

    @property
    def good_for(self) -> frozenset[Scope]:
        """The scopes."""
        return DEFAULT_SCOPES if self.scopes is None else self.scopes

    def within(self, limits: Self) -> Self:
        """Return the terms with everything that is not named taken from those of the key that asks."""
        return type(self)(
            name=self.name,
            scopes=limits.scopes if self.scopes is None else self.scopes,
            expires_at=limits.expires_at if self.expires_at is None else self.expires_at,
            requests_per_minute=self.requests_per_minute or limits.requests_per_minute,
        )

    def excess_over(self, limits: Self) -> str | None:
        """Return what these terms allow beyond others, in words; None if nothing."""
        beyond = self.good_for - limits.good_for
        if beyond:
            return f"the scope '{min(beyond)}'"
        if limits.expires_at is not None and (self.expires_at is None or self.expires_at > limits.expires_at):
            return "a later end"
        own, highest = self.requests_per_minute, limits.requests_per_minute
        if highest is not None and (own is None or own > highest):
            return "more requests a minute"
        return None


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is stored, without its secret. id: public; names it in lists, jobs and the audit log."""

    id: str
    account_id: str
    terms: KeyTerms
    created_at: int
    revoked_at: int | None = None

    def state(self, now: float) -> KeyState:
        """Return whether it works at an instant, Unix seconds."""
        if self.revoked_at is not None:
            return KeyState.REVOKED
        if self.terms.expires_at is not None and self.terms.expires_at <= now:
            return KeyState.EXPIRED
        return KeyState.ACTIVE

    @cached_property
    def may_have_ended(self) -> bool:
        """Whether there is anything to look at in ``why_not``."""
        return self.revoked_at is not None or self.terms.expires_at is not None

    def why_not(self, now: float) -> str | None:
        """Return why it does not work, for its holder; None if it does."""
        match self.state(now):
            case KeyState.ACTIVE:
                return None
            case KeyState.REVOKED:
                return "This API key was revoked. Use another one of the account, or ask for one."
            case KeyState.EXPIRED:
                ended = utc_words(self.terms.expires_at or 0)
                return f"This API key ended at {ended}. Use another one of the account, or ask for one."


def utc_words(instant: int) -> str:
    """Return Unix seconds for people, such as ``2026-01-31 12:00 UTC``."""
    try:
        return f"{datetime.fromtimestamp(instant, UTC):%Y-%m-%d %H:%M} UTC"
    except (OverflowError, ValueError, OSError):  # beyond the year 9999
        return f"{instant} s after 1970"
