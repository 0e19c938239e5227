"""Administration of keys over HTTP."""

from gpunode_protocol import admin_api as admin
from gpunode_protocol import tracker_api as api
from gpunode_tracker.scopes import Scope

from tests.tracker.audit_log import acts
from tests.tracker.conftest import World
from tests.tracker.parties import START_AT


async def test_a_key_for_any_account(world: World) -> None:
    """Any scopes, those of administration too; who made it is noted."""
    root = await world.key(Scope.ADMIN)
    account, _ = await world.account()
    path = admin.ADMIN_ACCOUNT_KEYS_PATH.format(account=account)
    made = await world.made(admin.NewKey, path, admin.KeyRequest(scopes=("admin", "jobs")), key=root)
    assert (made.key.account, made.key.scopes) == (account, ("jobs", "admin"))
    await world.read(admin.AuditPage, admin.ADMIN_AUDIT_PATH, key=made.api_key)
    actor, action, subject = (await acts(world.tracker.database))[-1]
    assert (action, subject) == ("key_created", f"key:{made.key.key}")
    listed = await world.read(admin.KeysPage, admin.ADMIN_KEYS_PATH, key=root)
    assert actor.removeprefix("key:") in {view.key for view in listed.keys if view.scopes == ("admin",)}
    unknown = await world.post(admin.ADMIN_ACCOUNT_KEYS_PATH.format(account="nobody"), admin.KeyRequest(), key=root)
    assert (unknown.status, (await world.problem(unknown)).code) == (404, "not_found")


async def test_lists(world: World) -> None:
    """All keys, or an account's."""
    root = await world.key(Scope.ADMIN)
    account, _ = await world.account()
    await world.account()
    every = await world.read(admin.KeysPage, admin.ADMIN_KEYS_PATH, key=root)
    assert len(every.keys) == 3
    (own,) = (view for view in every.keys if view.account == account)
    path = admin.ADMIN_ACCOUNT_KEYS_PATH.format(account=account)
    assert (await world.read(admin.KeysPage, path, key=root)).keys == (own,)


async def test_rotating_and_revoking(world: World) -> None:
    """Of any account; the old key ends at once if no grace is given."""
    root = await world.key(Scope.ADMIN)
    account, key = await world.account()
    await world.balance(key=key)
    path = admin.ADMIN_ACCOUNT_KEYS_PATH.format(account=account)
    (view,) = (await world.read(admin.KeysPage, path, key=root)).keys
    rotation = admin.ADMIN_KEY_ROTATION_PATH.format(key=view.key)
    rotated = await world.made(admin.RotatedKey, rotation, admin.KeyRotation(grace_s=0), key=root)
    assert (rotated.old.state, rotated.old.expires_at) == ("expired", START_AT)
    assert (await world.get(api.BALANCE_PATH, key=key)).status == 401
    await world.balance(key=rotated.api_key)
    assert (await world.delete(admin.ADMIN_KEY_PATH.format(key=rotated.key.key), key=root)).status == 204
    assert (await world.get(api.BALANCE_PATH, key=rotated.api_key)).status == 401
    assert (await world.delete(admin.ADMIN_KEY_PATH.format(key="nothing"), key=root)).status == 404
