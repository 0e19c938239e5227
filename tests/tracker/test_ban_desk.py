"""Shutting out and letting in."""

import pytest
from gpunode_protocol.identity import Identity
from gpunode_tracker import ban_desk
from gpunode_tracker.audit import Actor
from gpunode_tracker.ban_desk import BanDesk, normal_subject
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.errors import InvalidRequest, NotFound

from tests.tracker.audit_log import entries
from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock

PEER = Identity.from_seed(b"n" * 32).peer_id
WORKER = "0190a0b0-0000-7000-8000-000000000001"


@pytest.fixture
def desk(world: World, clock: TestClock) -> BanDesk:
    """The operator's desk."""
    return BanDesk(world.tracker.database, clock, Actor("operator"))


async def test_a_ban_and_its_end(desk: BanDesk, world: World) -> None:
    """It is kept and noted with its reason; lifting it is noted too."""
    account, _ = await world.account(credits_given=0)
    ban = await desk.place(BanKind.ACCOUNT, account, " spam ", until=START_AT + 60)
    assert ban == Ban(BanKind.ACCOUNT, account, "spam", START_AT, START_AT + 60)
    assert await desk.page(limit=9) == [ban]
    await desk.lift(BanKind.ACCOUNT, account)
    assert await desk.page(limit=9) == []
    noted = await entries(desk.database, subject=f"account:{account}")
    assert [(entry.action, entry.detail) for entry in noted[1:]] == [
        ("banned", {"reason": "spam", "until": START_AT + 60}),
        ("ban_lifted", {"reason": "spam"}),
    ]


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (BanKind.ADDRESS, " 192.0.2.7 ", "192.0.2.7"),
        (BanKind.ADDRESS, "192.0.2.7/32", "192.0.2.7"),
        (BanKind.ADDRESS, "::ffff:192.0.2.7", "192.0.2.7"),
        (BanKind.ADDRESS, "192.0.2.0/24", "192.0.2.0/24"),
        (BanKind.ADDRESS, "2001:DB8::1", "2001:db8::/64"),
        (BanKind.ADDRESS, "2001:db8::1/128", "2001:db8::1/128"),
        (BanKind.WORKER, WORKER.upper(), WORKER),
        (BanKind.NODE, f" {PEER} ", PEER),
    ],
)
async def test_subjects_have_one_form(kind: BanKind, given: str, kept: str, desk: BanDesk) -> None:
    """However they are written, they are found and lifted."""
    assert (await desk.place(kind, given, "x")).subject == kept
    assert normal_subject(kind, kept) == kept
    await desk.lift(kind, given)
    with pytest.raises(NotFound, match="There is no ban"):
        await desk.lift(kind, kept)


@pytest.mark.parametrize(
    ("kind", "subject", "words"),
    [
        (BanKind.ADDRESS, "example.com", "without host bits"),
        (BanKind.ADDRESS, "192.0.2.1/24", "without host bits"),
        (BanKind.ADDRESS, "0.0.0.0/0", "too much of the world"),
        (BanKind.ADDRESS, "64.0.0.0/7", "the widest that can be shut out is /8"),
        (BanKind.ADDRESS, "2000::/3", "the widest that can be shut out is /16"),
        (BanKind.WORKER, "worker-1", "a UUID"),
        (BanKind.NODE, "nobody", "peer id"),
    ],
)
async def test_what_is_no_subject(kind: BanKind, subject: str, words: str, desk: BanDesk) -> None:
    """The message says what is one."""
    with pytest.raises(InvalidRequest, match=words):
        await desk.place(kind, subject, "x")
    assert await desk.page(limit=9) == []


@pytest.mark.parametrize(
    ("reason", "until", "words"),
    [("", None, "needs a reason"), ("  ", None, "needs a reason"), ("a\nb", None, "one line"), ("x", START_AT, "over")],
)
async def test_bans_that_make_no_sense(reason: str, until: int | None, words: str, desk: BanDesk) -> None:
    """No reason, or no time."""
    with pytest.raises(InvalidRequest, match=words):
        await desk.place(BanKind.ADDRESS, "192.0.2.7", reason, until=until)


async def test_an_account_that_is_not_there(desk: BanDesk) -> None:
    """A mistyped id is told."""
    with pytest.raises(NotFound, match="no account nobody"):
        await desk.place(BanKind.ACCOUNT, "nobody", "x")


async def test_a_new_ban_replaces_the_old(desk: BanDesk, clock: TestClock) -> None:
    """At another instant, with another reason; beyond the number of bans too."""
    await desk.place(BanKind.ADDRESS, "192.0.2.7", "x")
    clock.advance(5)
    again = await desk.place(BanKind.ADDRESS, "192.0.2.7/32", "y")
    assert await desk.page(limit=9) == [again]
    assert again.created_at == START_AT + 5


async def test_bans_are_limited_in_number(desk: BanDesk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every process holds all of them in memory; those that are there can still be changed."""
    monkeypatch.setattr(ban_desk, "MAX_BANS", 1)
    await desk.place(BanKind.ADDRESS, "192.0.2.7", "x")
    with pytest.raises(InvalidRequest, match="ban networks instead"):
        await desk.place(BanKind.ADDRESS, "192.0.2.8", "x")
    await desk.place(BanKind.ADDRESS, "192.0.2.7", "y")


async def test_an_accounts_grants_end_with_it(desk: BanDesk, world: World) -> None:
    """Nodes verify them without asking, so they hear of it by the revocation list; what was done is still paid."""
    deal = await world.job()
    other = await world.job()
    await desk.place(BanKind.ACCOUNT, deal.account, "spam")
    await world.tracker.refresh()
    assert world.tracker.revocations.body.grants == (deal.grant.jti,)
    assert [result.status for result in await world.settle(deal.job.item(10), other.job.item(10))] == ["settled"] * 2


async def test_pages(desk: BanDesk) -> None:
    """By kind and subject."""
    for subject in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        await desk.place(BanKind.ADDRESS, subject, "x")
    first = await desk.page(limit=2)
    assert [ban.subject for ban in first] == ["192.0.2.1", "192.0.2.2"]
    assert [ban.subject for ban in await desk.page(("address", "192.0.2.2"), limit=2)] == ["192.0.2.3"]
