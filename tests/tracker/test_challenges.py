"""Challenges are recognised by their MAC and last 60 seconds."""

import pytest
from gpunode_tracker.challenges import Challenges
from gpunode_tracker.errors import InvalidRequest

from tests.tracker.parties import TestClock


def test_own_challenges_are_recognised() -> None:
    """A challenge is accepted until it expires, also by a replica with the same secret."""
    clock = TestClock()
    challenge, expires_at = Challenges(b"s" * 32, clock).new()
    replica = Challenges(b"s" * 32, clock)
    assert replica.check(challenge) == expires_at
    clock.advance(61)
    with pytest.raises(InvalidRequest, match="expired"):
        replica.check(challenge)


def test_foreign_challenges_are_refused() -> None:
    """Another secret, a changed bit or another length is not ours."""
    ours = Challenges(b"s" * 32, TestClock())
    foreign, _ = Challenges(b"x" * 32, TestClock()).new()
    own, _ = ours.new()
    for challenge in (foreign, own[:-1] + bytes([own[-1] ^ 1]), bytes([own[0] ^ 1]) + own[1:], own[:20], b""):
        with pytest.raises(InvalidRequest, match="not one of"):
            ours.check(challenge)
