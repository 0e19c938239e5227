"""Tokens in memory."""

from gpunode_tracker.workers.tokens import OLD_TOKEN_S, TokenCache, TokenHashes, new_token

NEW, OLD, OLDER = b"n" * 32, b"o" * 32, b"p" * 32


def test_tokens_are_new_each_time() -> None:
    """256 random bits behind a prefix that scanners know."""
    assert new_token().startswith("gpw_")
    assert len(new_token()) == len("gpw_") + 43
    assert new_token() != new_token()


def test_the_old_token_works_for_a_minute() -> None:
    """Not longer, and not for longer because the clock was set back by an hour."""
    hashes = TokenHashes(NEW, OLD, 1_000 + OLD_TOKEN_S)
    assert hashes.admits(NEW, 9e9)
    assert [hashes.admits(OLD, now) for now in (1_000, 1_059.9, 1_060, 1_000 - 3_600)] == [True, True, False, False]
    assert not hashes.admits(OLDER, 1_000)
    assert not TokenHashes(NEW).admits(OLD, 0)


def test_who_a_token_belongs_to() -> None:
    """As long as it is valid."""
    cache = TokenCache()
    cache.put("w", TokenHashes(NEW, OLD, 1_060))
    assert [cache.find(token, 1_059) for token in (NEW, OLD, OLDER)] == ["w", "w", None]
    assert [cache.find(token, 1_060) for token in (NEW, OLD)] == ["w", None]


def test_a_rotation_replaces_what_was_known() -> None:
    """The token before the last one is known no more."""
    cache = TokenCache()
    cache.put("w", TokenHashes(OLDER))
    cache.put("w", TokenHashes(OLD, OLDER, 60))
    cache.put("w", TokenHashes(NEW, OLD, 120))
    assert [cache.find(token, 61) for token in (NEW, OLD, OLDER)] == ["w", "w", None]
    assert len(cache) == 1


def test_forgetting() -> None:
    """Nothing is left of it."""
    cache = TokenCache()
    cache.put("v", TokenHashes(OLDER))
    cache.put("w", TokenHashes(NEW, OLD, 60))
    cache.forget_all(["w", "unknown"])
    assert [cache.find(token, 0) for token in (NEW, OLD, OLDER)] == [None, None, "v"]
    assert not cache._worker_of.keys() - {OLDER}
