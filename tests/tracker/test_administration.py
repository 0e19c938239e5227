"""The operator's actions on the database."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_protocol.identity import Identity
from gpunode_tracker.administration import MAX_CREDITS, Administration, administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import InvalidRequest, NotFound
from gpunode_tracker.storage.accounts import API_KEY_PREFIX
from gpunode_tracker.storage.api_keys import holder_of_key

from tests.tracker.conftest import World
from tests.tracker.parties import TestClock


@pytest.fixture
async def admin(settings: TrackerSettings, clock: TestClock) -> AsyncIterator[Administration]:
    """An administration without a running tracker."""
    async with administration(settings, clock) as opened:
        yield opened


async def test_accounts_and_keys(admin: Administration) -> None:
    """An account has its initial credits, and each of its keys finds it."""
    account = await admin.create_account(" Alice ", credits_given=3)
    keys = [await admin.create_key(account.id) for _ in range(2)]
    assert len(set(keys)) == 2
    assert all(key.startswith(API_KEY_PREFIX) and len(key) == 47 for key in keys)
    async with admin.database.read() as connection:
        holder = await holder_of_key(connection, keys[0])
        assert holder is not None
        assert replace(holder.account, key_id="") == account
        assert await holder_of_key(connection, keys[0] + "x") is None
    ((listed, balance),) = await admin.balances()
    assert (listed.name, balance.spendable_microcredits) == ("Alice", 3_000_000)


async def test_accounts_by_name(admin: Administration) -> None:
    """A name does as long as it is the only one; an id goes before a name, which anybody may choose."""
    alice = await admin.create_account("Alice", credits_given=0)
    assert await admin.find_account("Alice") == await admin.find_account(alice.id) == alice
    impostor = await admin.create_account(alice.id, credits_given=0)
    assert await admin.find_account(alice.id) == alice
    second = await admin.create_account("Alice", credits_given=0)
    with pytest.raises(InvalidRequest, match=f"2 accounts are named Alice.*({alice.id}|{second.id}), a.*"):
        await admin.find_account("Alice")
    assert await admin.find_account(impostor.id) == impostor
    with pytest.raises(NotFound, match="nobody"):
        await admin.find_account("nobody")


async def test_issuing(admin: Administration) -> None:
    """Credits come on top, and only positive ones."""
    account = await admin.create_account("a", credits_given=0)
    assert (await admin.issue(account.id, 5, memo="thanks")).spendable_microcredits == 5_000_000
    for wrong in (0, -1, MAX_CREDITS + 1, 2**63):
        with pytest.raises(InvalidRequest):
            await admin.issue(account.id, wrong)
        if wrong > 0:
            with pytest.raises(InvalidRequest):
                await admin.create_account("b", credits_given=wrong)


@pytest.mark.parametrize("action", ["create_key", "issue", "revoke_grant", "revoke_node"])
async def test_what_does_not_exist(admin: Administration, action: str) -> None:
    """The error names it."""
    arguments = (1,) if action == "issue" else ()
    with pytest.raises(NotFound, match="nobody"):
        await getattr(admin, action)("nobody", *arguments)


@pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x1b[31mb", "a\nb", "a\0", "a\u202eb"])
async def test_names(admin: Administration, name: str) -> None:
    """An account has a name of sensible length that cannot rewrite the operator's screen."""
    with pytest.raises(InvalidRequest):
        await admin.create_account(name, credits_given=0)


async def test_a_folder_without_a_tracker(tmp_path: Path) -> None:
    """Only a start makes a network: a mistyped folder stays as it is, and one without keys gets none."""
    wrong, empty = tmp_path / "wrong", tmp_path / "empty"
    empty.mkdir()
    (empty / "tracker.db").touch()
    for folder in (wrong, empty):
        settings = TrackerSettings.load({"data_dir": folder})
        with pytest.raises(NotFound, match=f"no tracker in {folder}; .*gpunode tracker start --data-dir {folder}"):
            async with administration(settings):
                pass
    assert not wrong.exists()
    assert not (empty / "root.key").exists()


async def test_a_running_tracker_sees_it(world: World, settings: TrackerSettings, clock: TestClock) -> None:
    """Another process' accounts, keys, credits and rotations take effect without a restart."""
    async with administration(settings, clock) as other:
        account = await other.create_account("b", credits_given=1)
        key = await other.create_key(account.id)
        keyset = await other.rotate_key(root_key=None, at_once=True)
    assert (await world.balance(key=key)).spendable_microcredits == 1_000_000
    await world.grant(key, Identity.generate())
    await world.tracker.refresh()
    assert world.tracker.keys.signer(clock())[0] == keyset.keys[-1].kid
    await world.tracker.sequence()
    head = world.tracker.sequencer.head
    assert head is not None
    assert world.tracker.keys.trust.open_tree_head(head).body.kid == keyset.keys[-1].kid
