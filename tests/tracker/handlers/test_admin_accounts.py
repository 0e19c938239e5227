"""Administration of accounts over HTTP."""

import pytest
from gpunode_protocol import admin_api as admin
from gpunode_tracker.bans import BanKind
from gpunode_tracker.scopes import Scope

from tests.tracker.audit_log import entries
from tests.tracker.conftest import World
from tests.tracker.parties import START_AT


async def test_an_account_is_made_and_given_credits(world: World) -> None:
    """Its balance is shown, and both are noted with who did it and from where."""
    root = await world.key(Scope.ADMIN)
    body = admin.AccountCreation(name="Alice", credits=3)
    made = await world.made(admin.AccountDetails, admin.ADMIN_ACCOUNTS_PATH, body, key=root)
    assert (made.account.name, made.account.created_at, made.keys, made.ban) == ("Alice", START_AT, 0, None)
    assert made.balance.spendable_microcredits == 3_000_000
    order = admin.CreditsOrder(credits=2, memo="thanks")
    given = await world.made(
        admin.AccountDetails, admin.ADMIN_CREDITS_PATH.format(account=made.account.account), order, key=root
    )
    assert given.balance.spendable_microcredits == 5_000_000
    first, second = await entries(world.tracker.database, subject=f"account:{made.account.account}")
    assert (first.action, first.detail) == ("account_created", {"name": "Alice", "credits": 3, "promotional": False})
    assert (second.action, second.detail) == ("credits_issued", {"credits": 2, "memo": "thanks"})
    assert first.actor == second.actor != "operator"
    assert first.address == "127.0.0.1"


async def test_what_an_account_is_given_at_first(world: World) -> None:
    """The settings' credits if none are named; promotional ones if asked for."""
    root = await world.key(Scope.ADMIN)
    body = admin.AccountCreation(name="Bob", promotional=True)
    made = await world.made(admin.AccountDetails, admin.ADMIN_ACCOUNTS_PATH, body, key=root)
    assert made.account.promotional
    assert made.balance.spendable_microcredits == 1_000_000_000


async def test_an_account_is_shown(world: World) -> None:
    """With how many keys work, and the ban if there is one."""
    root = await world.key(Scope.ADMIN)
    account, _ = await world.account(credits_given=1)
    path = admin.ADMIN_ACCOUNT_PATH.format(account=account)
    shown = await world.read(admin.AccountDetails, path, key=root)
    assert (shown.keys, shown.balance.spendable_microcredits, shown.ban) == (1, 1_000_000, None)
    await world.admin.bans.place(BanKind.ACCOUNT, account, "spam")
    await world.tracker.refresh()
    banned = (await world.read(admin.AccountDetails, path, key=root)).ban
    assert banned is not None
    assert banned.reason == "spam"


@pytest.mark.parametrize("account", ["nobody", "a%00b", "a%20b", "%F0%9F%98%80", "x" * 65])
async def test_an_account_that_is_not_there(account: str, world: World) -> None:
    """Whatever its name looks like."""
    root = await world.key(Scope.ADMIN)
    for path in (admin.ADMIN_ACCOUNT_PATH, admin.ADMIN_ACCOUNT_KEYS_PATH):
        response = await world.get(path.format(account=account), key=root)
        assert (await world.problem(response)).status == 404
    issued = await world.post(admin.ADMIN_CREDITS_PATH.format(account=account), admin.CreditsOrder(credits=1), key=root)
    assert issued.status == 404


async def test_lists(world: World) -> None:
    """Page by page, or by name."""
    root = await world.key(Scope.ADMIN)
    made = {(await world.admin.create_account(name, credits_given=0)).id for name in ("Alice", "Bob", "Alice")}
    first = await world.read(admin.AccountsPage, f"{admin.ADMIN_ACCOUNTS_PATH}?limit=3", key=root)
    rest = await world.read(
        admin.AccountsPage, f"{admin.ADMIN_ACCOUNTS_PATH}?limit=3&cursor={first.next_cursor}", key=root
    )
    assert rest.next_cursor is None
    found = [view.account for view in (*first.accounts, *rest.accounts)]
    assert len(found) == 4
    assert made < set(found)
    named = await world.read(admin.AccountsPage, f"{admin.ADMIN_ACCOUNTS_PATH}?name=Alice", key=root)
    assert {view.name for view in named.accounts} == {"Alice"}
    assert len(named.accounts) == 2


@pytest.mark.parametrize("query", ["limit=101", "limit=-1", "limit=x", "cursor=%00", f"name={'x' * 101}"])
async def test_queries_that_cannot_be_used(query: str, world: World) -> None:
    """The answer says what may stand there."""
    root = await world.key(Scope.ADMIN)
    response = await world.get(f"{admin.ADMIN_ACCOUNTS_PATH}?{query}", key=root)
    assert (await world.problem(response)).status == 422
