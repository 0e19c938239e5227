"""Making, replacing and ending keys."""

from dataclasses import replace
from typing import Any

import pytest
from gpunode_tracker import key_desk
from gpunode_tracker.api_keys import ApiKey, KeyState, KeyTerms
from gpunode_tracker.audit import Actor
from gpunode_tracker.errors import Forbidden, InvalidRequest, NotFound
from gpunode_tracker.key_desk import KeyDesk, MadeKey
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage.accounts import Account, add_account
from gpunode_tracker.storage.api_keys import holder_of_key
from gpunode_tracker.tracker import Tracker

from tests.tracker.audit_log import entries
from tests.tracker.parties import START_AT, TestClock

ACCOUNT_SCOPE = frozenset({Scope.ACCOUNT, Scope.JOBS})


@pytest.fixture
async def desk(tracker: Tracker, clock: TestClock) -> KeyDesk:
    """The operator's desk, with accounts a and b."""
    async with tracker.database.write() as connection:
        for name in ("a", "b"):
            await add_account(connection, Account(name, name, False), created_at=START_AT)
    return KeyDesk(tracker.database, clock, Actor("operator"))


async def _asking(desk: KeyDesk, **terms: Any) -> tuple[KeyDesk, ApiKey]:
    """Return the desk as one of a's own keys with these terms has it, and that key."""
    key = (await desk.create("a", KeyTerms(**terms))).key
    return replace(desk, asking=key, actor=Actor(f"key:{key.id}", "192.0.2.1")), key


async def _holder(desk: KeyDesk, made: MadeKey) -> ApiKey:
    async with desk.database.read() as connection:
        holder = await holder_of_key(connection, made.secret)
    assert holder is not None
    return holder.key


async def test_a_new_key(desk: KeyDesk) -> None:
    """It is kept with its terms, and noted without its secret."""
    terms = KeyTerms(name="ci", scopes=ACCOUNT_SCOPE, expires_at=START_AT + 60, requests_per_minute=9)
    made = await desk.create("a", terms)
    assert made.secret.startswith("gpn_")
    assert await _holder(desk, made) == made.key
    (entry,) = await entries(desk.database)
    assert (entry.actor, entry.action, entry.subject) == ("operator", "key_created", f"key:{made.key.id}")
    assert entry.detail == {
        "account": "a",
        "name": "ci",
        "scopes": ["jobs", "account"],
        "expires_at": START_AT + 60,
        "requests_per_minute": 9,
    }


@pytest.mark.parametrize(
    ("account", "terms", "error", "words"),
    [
        ("nobody", KeyTerms(), NotFound, "no account nobody"),
        ("a", KeyTerms(expires_at=START_AT), InvalidRequest, "ended already, at 2025-06-15"),
        ("a", KeyTerms(name="x\x1b[31m"), InvalidRequest, "printable"),
        ("a", KeyTerms(name="x" * 101), InvalidRequest, "at most 100"),
    ],
)
async def test_keys_that_are_not_made(
    account: str, terms: KeyTerms, error: type[Exception], words: str, desk: KeyDesk
) -> None:
    """Nothing is kept, and nothing noted."""
    with pytest.raises(error, match=words):
        await desk.create(account, terms)
    assert await desk.page(limit=9) == []
    assert await entries(desk.database) == []


async def test_rotation(desk: KeyDesk, clock: TestClock) -> None:
    """The new key is good for the same; the old one works until the grace is over."""
    old = await desk.create("a", KeyTerms(name="ci", scopes=ACCOUNT_SCOPE, requests_per_minute=9))
    made, ending = await desk.rotate(old.key.id, grace_s=60)
    assert made.key.terms == old.key.terms
    assert made.secret != old.secret
    assert await _holder(desk, old) == ending
    clock.advance(59)
    assert ending.state(clock()) is KeyState.ACTIVE
    clock.advance(1)
    assert ending.state(clock()) is KeyState.EXPIRED
    assert (await _holder(desk, made)).state(clock()) is KeyState.ACTIVE
    entry = (await entries(desk.database))[-1]
    assert (entry.action, entry.subject) == ("key_rotated", f"key:{old.key.id}")
    assert entry.detail == {"account": "a", "new_key": made.key.id, "ends_at": START_AT + 60}


async def test_rotation_gives_nobody_more_time(desk: KeyDesk) -> None:
    """A key that was to end before the grace is over does so, and so does the one in its place."""
    old = await desk.create("a", KeyTerms(expires_at=START_AT + 10))
    made, ending = await desk.rotate(old.key.id, grace_s=60)
    assert made.key.terms.expires_at == ending.terms.expires_at == START_AT + 10


async def test_a_key_that_has_ended_is_not_rotated(desk: KeyDesk, clock: TestClock) -> None:
    """It cannot be brought back like that."""
    revoked = await desk.create("a", KeyTerms())
    await desk.revoke(revoked.key.id)
    expired = await desk.create("a", KeyTerms(expires_at=START_AT + 10))
    clock.advance(10)
    for made, state in ((revoked, "revoked"), (expired, "expired")):
        with pytest.raises(InvalidRequest, match=f"is {state} already"):
            await desk.rotate(made.key.id, grace_s=0)


async def test_revoking(desk: KeyDesk, clock: TestClock) -> None:
    """At once; again changes nothing and is no news."""
    made = await desk.create("a", KeyTerms())
    assert (await desk.revoke(made.key.id)).revoked_at == START_AT
    clock.advance(5)
    assert (await desk.revoke(made.key.id)).revoked_at == START_AT
    assert (await _holder(desk, made)).revoked_at == START_AT
    assert [entry.action for entry in await entries(desk.database)] == ["key_created", "key_revoked"]


async def test_what_is_no_keys_id(desk: KeyDesk) -> None:
    """The message says where ids are listed."""
    for act in (desk.revoke("nothing"), desk.rotate("nothing", grace_s=0)):
        with pytest.raises(NotFound, match="list-keys"):
            await act


async def test_own_keys_get_what_the_asking_key_has(desk: KeyDesk) -> None:
    """Terms that are not named are its own ones; its doing is noted with its address."""
    own, asking = await _asking(desk, scopes=ACCOUNT_SCOPE, expires_at=START_AT + 60, requests_per_minute=9)
    made = await own.create("a", KeyTerms(name="second"))
    assert made.key.terms == replace(asking.terms, name="second")
    entry = (await entries(desk.database))[-1]
    assert (entry.actor, entry.address) == (f"key:{asking.id}", "192.0.2.1")


@pytest.mark.parametrize(
    ("terms", "excess"),
    [
        (KeyTerms(scopes=frozenset({Scope.ADMIN})), "the scope 'admin'"),
        (KeyTerms(scopes=frozenset({Scope.GRANTS})), "the scope 'grants'"),
        (KeyTerms(expires_at=START_AT + 61), "a later end"),
        (KeyTerms(requests_per_minute=10), "more requests a minute"),
    ],
)
async def test_own_keys_get_no_more(terms: KeyTerms, excess: str, desk: KeyDesk) -> None:
    """Nor by putting a key in the place of a better one."""
    own, _ = await _asking(desk, scopes=ACCOUNT_SCOPE, expires_at=START_AT + 60, requests_per_minute=9)
    with pytest.raises(Forbidden, match=excess):
        await own.create("a", terms)
    fields = {"scopes": ACCOUNT_SCOPE, "expires_at": START_AT + 60, "requests_per_minute": 9}
    fields |= {name: value for name, value in vars(terms).items() if value}
    better = await desk.create("a", KeyTerms(**fields))
    with pytest.raises(Forbidden, match=excess):
        await own.rotate(better.key.id, grace_s=0)
    assert (await _holder(desk, better)).terms == better.key.terms


async def test_own_keys_end_none_that_are_good_for_more(desk: KeyDesk) -> None:
    """But one that leaked may be ended by one that ends sooner."""
    own, _ = await _asking(desk, scopes=ACCOUNT_SCOPE, expires_at=START_AT + 60)
    admin = await desk.create("a", KeyTerms(scopes=frozenset(Scope)))
    with pytest.raises(Forbidden, match="good for more"):
        await own.revoke(admin.key.id)
    leaked = await desk.create("a", KeyTerms(scopes=frozenset({Scope.JOBS})))
    assert (await own.revoke(leaked.key.id)).revoked_at == START_AT


async def test_own_keys_are_of_the_own_account(desk: KeyDesk) -> None:
    """Another account's are not there."""
    own, _ = await _asking(desk)
    others = await desk.create("b", KeyTerms())
    for act in (own.revoke(others.key.id), own.rotate(others.key.id, grace_s=0)):
        with pytest.raises(NotFound):
            await act


async def test_own_keys_are_limited_in_number(desk: KeyDesk, clock: TestClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that work and those of the last day; the operator may go beyond."""
    monkeypatch.setattr(key_desk, "MAX_OWN_KEYS", 3)
    own, _ = await _asking(desk)
    second = await own.create("a", KeyTerms())
    await own.rotate(second.key.id, grace_s=0)
    for act in (own.create("a", KeyTerms()), own.rotate(own.asking.id, grace_s=0)):  # type: ignore[union-attr]  # -- set
        with pytest.raises(Forbidden, match=r"has 3 keys.*may make 3"):
            await act
    await desk.create("a", KeyTerms(expires_at=START_AT + 60))
    clock.advance(24 * 3600 + 1)
    await own.create("a", KeyTerms())  # two of the four work still


async def test_pages(desk: KeyDesk) -> None:
    """By id, of one account or of all."""
    made = sorted([(await desk.create(account, KeyTerms())).key.id for account in ("a", "a", "b")])
    assert [key.id for key in await desk.page(limit=9)] == made
    assert [key.id for key in await desk.page(after_id=made[0], limit=1)] == made[1:2]
    assert {key.account_id for key in await desk.page(account_id="b", limit=9)} == {"b"}
