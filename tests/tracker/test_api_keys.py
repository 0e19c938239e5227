"""Keys and their terms."""

import pytest
from gpunode_tracker.api_keys import ApiKey, KeyState, KeyTerms, utc_words
from gpunode_tracker.scopes import DEFAULT_SCOPES, Scope

JOBS = frozenset({Scope.JOBS})


@pytest.mark.parametrize(
    ("revoked_at", "expires_at", "state", "why"),
    [
        (None, None, KeyState.ACTIVE, None),
        (None, 101, KeyState.ACTIVE, None),
        (None, 100, KeyState.EXPIRED, "ended at 1970-01-01 00:01 UTC"),
        (90, None, KeyState.REVOKED, "was revoked"),
        (90, 100, KeyState.REVOKED, "was revoked"),
    ],
)
def test_when_a_key_works(revoked_at: int | None, expires_at: int | None, state: KeyState, why: str | None) -> None:
    """Until its end, and unless it was revoked; its holder is told which."""
    key = ApiKey(id="k", account_id="a", terms=KeyTerms(expires_at=expires_at), created_at=0, revoked_at=revoked_at)
    assert key.state(100) is state
    told = key.why_not(100)
    assert (told is None) == (why is None)
    assert why is None or why in (told or "")


@pytest.mark.parametrize(
    ("asked", "allowed", "excess"),
    [
        (KeyTerms(), KeyTerms(), None),
        (KeyTerms(scopes=JOBS), KeyTerms(), None),
        (KeyTerms(scopes=frozenset(Scope)), KeyTerms(), "the scope 'admin'"),
        (KeyTerms(), KeyTerms(scopes=JOBS), "the scope 'account'"),
        (KeyTerms(expires_at=100), KeyTerms(expires_at=100), None),
        (KeyTerms(expires_at=101), KeyTerms(expires_at=100), "a later end"),
        (KeyTerms(), KeyTerms(expires_at=100), "a later end"),
        (KeyTerms(requests_per_minute=5), KeyTerms(requests_per_minute=5), None),
        (KeyTerms(requests_per_minute=6), KeyTerms(requests_per_minute=5), "more requests a minute"),
        (KeyTerms(), KeyTerms(requests_per_minute=5), "more requests a minute"),
    ],
)
def test_what_goes_beyond_another_key(asked: KeyTerms, allowed: KeyTerms, excess: str | None) -> None:
    """More scopes, a later end, or a higher limit."""
    assert asked.excess_over(allowed) == excess


def test_what_is_not_named_is_the_asking_keys() -> None:
    """So that a key with limits makes keys with those limits; the name is its own."""
    limits = KeyTerms(name="mine", scopes=JOBS, expires_at=100, requests_per_minute=5)
    assert KeyTerms(name="new").within(limits) == KeyTerms(
        name="new", scopes=JOBS, expires_at=100, requests_per_minute=5
    )
    own = KeyTerms(scopes=frozenset({Scope.LEDGER}), expires_at=50, requests_per_minute=1)
    assert own.within(limits) == own
    assert KeyTerms().good_for == DEFAULT_SCOPES


def test_instants_for_people() -> None:
    """Those that no calendar holds too."""
    assert utc_words(1_750_000_000) == "2025-06-15 15:06 UTC"
    assert utc_words(2**40) == "1099511627776 s after 1970"
