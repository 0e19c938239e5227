"""Bans in the database."""

from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.storage.bans import (
    all_bans,
    bans_after,
    count_bans,
    find_ban,
    forget_bans,
    lift_ban,
    save_ban,
)
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT

pytestmark = ON_BOTH

NOW = START_AT
ACCOUNT = Ban(BanKind.ACCOUNT, "a1", "spam", NOW)
SHORT = Ban(BanKind.ADDRESS, "192.0.2.0/24", "floods", NOW, NOW + 10)
NODE = Ban(BanKind.NODE, "12D3", "lies", NOW)


async def test_bans_are_kept_in_one_order(tracker: Tracker) -> None:
    """By kind and subject, page by page, without those whose time is over."""
    async with tracker.database.write() as connection:
        for ban in (NODE, SHORT, ACCOUNT):
            await save_ban(connection, ban)
    async with tracker.database.read() as connection:
        assert await all_bans(connection, now=NOW) == [ACCOUNT, SHORT, NODE]
        assert await all_bans(connection, now=NOW + 10) == [ACCOUNT, NODE]
        assert await count_bans(connection, now=NOW + 10) == 2
        first = await bans_after(connection, "", "", now=NOW, limit=2)
        assert first == [ACCOUNT, SHORT]
        assert await bans_after(connection, first[-1].kind, first[-1].subject, now=NOW, limit=2) == [NODE]


async def test_a_second_ban_replaces_the_first(tracker: Tracker) -> None:
    """Reason and end are the new ones."""
    longer = Ban(ACCOUNT.kind, ACCOUNT.subject, "worse", NOW + 1, NOW + 100)
    async with tracker.database.write() as connection:
        await save_ban(connection, ACCOUNT)
        await save_ban(connection, longer)
        assert await find_ban(connection, ACCOUNT.kind, ACCOUNT.subject) == longer
        assert await count_bans(connection, now=NOW) == 1


async def test_lifting(tracker: Tracker) -> None:
    """Only what is there, and only of that kind."""
    async with tracker.database.write() as connection:
        await save_ban(connection, ACCOUNT)
        assert not await lift_ban(connection, BanKind.WORKER, ACCOUNT.subject)
        assert await lift_ban(connection, ACCOUNT.kind, ACCOUNT.subject)
        assert not await lift_ban(connection, ACCOUNT.kind, ACCOUNT.subject)
        assert await find_ban(connection, ACCOUNT.kind, ACCOUNT.subject) is None


async def test_forgetting(tracker: Tracker) -> None:
    """Bans whose time is over go; those without an end stay."""
    async with tracker.database.write() as connection:
        for ban in (ACCOUNT, SHORT):
            await save_ban(connection, ban)
        await forget_bans(connection, now=NOW + 9)
        assert await find_ban(connection, SHORT.kind, SHORT.subject) == SHORT
        await forget_bans(connection, now=NOW + 10)
        assert await find_ban(connection, SHORT.kind, SHORT.subject) is None
        assert await find_ban(connection, ACCOUNT.kind, ACCOUNT.subject) == ACCOUNT
