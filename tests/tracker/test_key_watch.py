"""The keys of requests that go on for long."""

from dataclasses import replace

import pytest
from gpunode_tracker.api_keys import KeyTerms
from gpunode_tracker.audit import Actor
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.errors import Banned, Unauthenticated
from gpunode_tracker.key_desk import KeyDesk, MadeKey
from gpunode_tracker.key_watch import KeyWatch
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, TestClock

HERE = "192.0.2.7"


@pytest.fixture
async def desk(tracker: Tracker, clock: TestClock) -> KeyDesk:
    """The operator's desk, with an account a."""
    async with tracker.database.write() as connection:
        await add_account(connection, Account("a", "a", False), created_at=START_AT)
    return KeyDesk(tracker.database, clock, Actor("operator"))


async def _key(desk: KeyDesk, expires_at: int | None = None) -> MadeKey:
    return await desk.create("a", KeyTerms(expires_at=expires_at))


@ON_BOTH
async def test_a_key_that_is_revoked(tracker: Tracker, desk: KeyDesk) -> None:
    """It is noticed at the next look, whichever process did it; others stay as they are."""
    key, other = (await _key(desk)).key, (await _key(desk)).key
    watch = tracker.key_watch
    with watch.watching(key, HERE) as why_not, watch.watching(other, HERE) as why_not_other:
        await watch.look()
        assert why_not() is None
        await desk.revoke(key.id)
        assert why_not() is None
        await watch.look()
        refusal = why_not()
        assert isinstance(refusal, Unauthenticated)
        assert (refusal.ended, str(refusal)[:28]) == (True, "This API key was revoked. Us")
        assert why_not_other() is None
        with watch.watching(key, HERE) as later:  # read before, by whoever begins now
            assert later() is not None


async def test_a_key_that_ends(tracker: Tracker, desk: KeyDesk, clock: TestClock) -> None:
    """At its instant, without a look; one that was replaced meanwhile ends when that says."""
    key, rotated = (await _key(desk, START_AT + 60)).key, (await _key(desk)).key
    watch = tracker.key_watch
    with watch.watching(key, HERE) as why_not, watch.watching(rotated, HERE) as why_not_rotated:
        await desk.rotate(rotated.id, grace_s=30)
        await watch.look()
        clock.advance(30)
        assert (why_not(), str(why_not_rotated())[:21]) == (None, "This API key ended at")
        clock.advance(30)
        assert str(why_not()).startswith("This API key ended at")


@pytest.mark.parametrize(("kind", "subject"), [(BanKind.ACCOUNT, "a"), (BanKind.ADDRESS, "192.0.2.0/24")])
async def test_whoever_is_shut_out(tracker: Tracker, desk: KeyDesk, kind: BanKind, subject: str) -> None:
    """The account, or the address."""
    with tracker.key_watch.watching((await _key(desk)).key, HERE) as why_not:
        tracker.bans.replace([Ban(kind, subject, "spam", START_AT)])
        assert isinstance(why_not(), Banned)
        tracker.bans.replace([])
        assert why_not() is None


async def test_nothing_is_left_of_a_request_that_ended(tracker: Tracker, desk: KeyDesk) -> None:
    """Two with one key are watched until both have ended; a key that is gone counts as it was."""
    key, watch = (await _key(desk)).key, KeyWatch(tracker.database, tracker.bans, tracker.clock)
    await watch.look()
    with watch.watching(key, HERE), watch.watching(replace(key, id="x"), HERE) as why_not:
        with watch.watching(key, HERE):
            assert len(watch) == 2
        await watch.look()
        assert (len(watch), why_not()) == (2, None)
    assert len(watch) == 0
