"""An account's own keys over HTTP."""

from gpunode_protocol import admin_api as admin
from gpunode_protocol import tracker_api as api
from gpunode_tracker.scopes import Scope

from tests.tracker.audit_log import acts
from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock


def _path(path: str, view: admin.KeyView) -> str:
    return path.format(key=view.key)


async def test_a_key_is_made_by_another(world: World) -> None:
    """With fewer scopes, an end and a limit; it works for those, and is shown once, to be kept in no cache."""
    account, key = await world.account()
    body = admin.KeyRequest(name="ci", scopes=("ledger",), expires_at=START_AT + 60, requests_per_minute=100)
    response = await world.post(admin.KEYS_PATH, body, key=key)
    assert (response.status, response.headers["Cache-Control"]) == (201, "no-store")
    made = admin.NewKey.model_validate_json(await response.text())
    assert made.key == admin.KeyView(
        key=made.key.key,
        account=account,
        name="ci",
        scopes=("ledger",),
        state="active",
        requests_per_minute=100,
        created_at=START_AT,
        expires_at=START_AT + 60,
    )
    assert (await world.balance(key=made.api_key)).account == account
    listed = await world.read(admin.KeysPage, admin.KEYS_PATH, key=key)
    assert made.key in listed.keys
    assert made.api_key not in listed.model_dump_json()


async def test_no_key_makes_a_better_one(world: World) -> None:
    """Administration is given by the operator only."""
    _, key = await world.account()
    for scopes in (("admin",), ("jobs", "admin")):
        refused = await world.post(admin.KEYS_PATH, admin.KeyRequest.model_validate({"scopes": scopes}), key=key)
        problem = await world.problem(refused)
        assert (problem.status, problem.code) == (403, "forbidden")
        assert "the scope 'admin'" in problem.detail
    plain = await world.made(admin.NewKey, admin.KEYS_PATH, admin.KeyRequest(), key=key)
    assert plain.key.scopes == ("jobs", "grants", "ledger", "account")


async def test_a_key_without_the_scope(world: World) -> None:
    """It manages no keys, not even itself."""
    key = await world.key(Scope.JOBS, Scope.LEDGER)
    assert (await world.problem(await world.get(admin.KEYS_PATH, key=key))).code == "missing_scope"
    assert (await world.post(admin.KEYS_PATH, admin.KeyRequest(), key=key)).status == 403
    assert (await world.get(admin.KEYS_PATH)).status == 401


async def test_a_key_in_the_place_of_another(world: World, clock: TestClock) -> None:
    """Both work until the grace is over, then the new one only: also where the old one was just in use."""
    _, key = await world.account()
    old = await world.made(admin.NewKey, admin.KEYS_PATH, admin.KeyRequest(name="app"), key=key)
    await world.balance(key=old.api_key)
    path = _path(admin.KEY_ROTATION_PATH, old.key)
    rotated = await world.made(admin.RotatedKey, path, admin.KeyRotation(grace_s=60), key=key)
    assert (rotated.key.name, rotated.key.expires_at, rotated.old.key) == ("app", None, old.key.key)
    assert rotated.old.expires_at == START_AT + 60
    for secret in (old.api_key, rotated.api_key):
        await world.balance(key=secret)
    clock.advance(60)
    refused = await world.problem(await world.get(api.BALANCE_PATH, key=old.api_key))
    assert (refused.status, refused.code) == (401, "unauthenticated")
    assert "This API key ended at 2025-06-15 15:07 UTC" in refused.detail
    await world.balance(key=rotated.api_key)


async def test_a_revoked_key_ends_at_once(world: World) -> None:
    """Although it was just in use; deleting it again is no mistake."""
    account, key = await world.account()
    made = await world.made(admin.NewKey, admin.KEYS_PATH, admin.KeyRequest(), key=key)
    await world.balance(key=made.api_key)
    for _ in range(2):
        assert (await world.delete(_path(admin.KEY_PATH, made.key), key=key)).status == 204
    response = await world.get(api.BALANCE_PATH, key=made.api_key)
    assert "This API key was revoked" in (await world.problem(response)).detail
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]
    states = {view.key: view.state for view in (await world.read(admin.KeysPage, admin.KEYS_PATH, key=key)).keys}
    assert sorted(states.values()) == ["active", "revoked"]
    actor = (await acts(world.tracker.database))[-1][0]
    assert actor.removeprefix("key:") in states
    assert account == made.key.account


async def test_other_accounts_keys(world: World) -> None:
    """Nobody sees, replaces or ends them."""
    _, mine = await world.account()
    _, others = await world.account()
    view = (await world.read(admin.KeysPage, admin.KEYS_PATH, key=others)).keys[0]
    assert view not in (await world.read(admin.KeysPage, admin.KEYS_PATH, key=mine)).keys
    assert (await world.delete(_path(admin.KEY_PATH, view), key=mine)).status == 404
    rotated = await world.post(_path(admin.KEY_ROTATION_PATH, view), admin.KeyRotation(), key=mine)
    assert rotated.status == 404
    await world.balance(key=others)


async def test_pages(world: World) -> None:
    """The cursor leads through all keys, once each."""
    _, key = await world.account()
    for _ in range(4):
        await world.made(admin.NewKey, admin.KEYS_PATH, admin.KeyRequest(), key=key)
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = await world.read(admin.KeysPage, f"{admin.KEYS_PATH}?limit=2&cursor={cursor}", key=key)
        found += [view.key for view in page.keys]
        cursor = page.next_cursor
    assert len(found) == len(set(found)) == 5


async def test_an_id_that_is_a_key(world: World) -> None:
    """Whoever takes the key for its id is told, and the key is not repeated."""
    _, key = await world.account()
    problem = await world.problem(await world.delete(admin.KEY_PATH.format(key=key), key=key))
    assert problem.status == 404
    assert key not in problem.model_dump_json()
    assert "Its id is not the key itself" in problem.detail
