"""Who may administer, and what is noted of who may not."""

import pytest
from gpunode_protocol import admin_api as admin
from gpunode_protocol.identity import Identity
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.limits import Budget, Limits
from gpunode_tracker.rates import Rate
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage import audit

from tests.tracker.audit_log import entries
from tests.tracker.conftest import World

AUDIT = admin.ADMIN_AUDIT_PATH


async def test_the_scope_opens(world: World) -> None:
    """Alone or with others; without it, no key does."""
    for scopes in ((Scope.ADMIN,), tuple(Scope)):
        assert (await world.get(AUDIT, key=await world.key(*scopes))).status == 200
    for key in (await world.key(), await world.key(Scope.JOBS)):
        response = await world.get(AUDIT, key=key)
        problem = await world.problem(response)
        assert (problem.status, problem.code) == (403, "missing_scope")
        assert "the scope 'admin'" in problem.detail
        assert 'error="insufficient_scope", scope="admin"' in response.headers["WWW-Authenticate"]


async def test_refusals_are_noted(world: World) -> None:
    """With the key if it is known, the path without what stands in it, and never the key itself."""
    account, key = await world.account()
    await world.delete(admin.ADMIN_KEY_PATH.format(key="secret"), key=key)
    await world.get(AUDIT, key="gpn_guessed-guessed")
    await world.get(AUDIT, token=(await world.register(Identity.generate())).token)
    await world.get(AUDIT)
    known, guessed, other = await entries(world.tracker.database, action="admin_refused")
    assert known.actor.startswith("key:")
    assert (known.subject, known.detail) == (f"DELETE {admin.ADMIN_KEY_PATH}", {"reason": "MissingScope"})
    assert (guessed.actor, guessed.subject, guessed.address) == ("unknown", f"GET {AUDIT}", "127.0.0.1")
    assert other.detail == {"reason": "Unauthenticated"}
    assert not any(key in str(entry) or "guessed-" in str(entry) for entry in (known, guessed, other))
    assert account not in known.actor


@pytest.mark.parametrize("limits", [Limits(rates={Budget.FAILED_AUTHENTICATIONS: Rate(per_minute=60, burst=3)})])
async def test_who_tries_is_stopped(limited: World) -> None:
    """With a key of one's own too: the log cannot be filled by that."""
    _, key = await limited.account()
    answers = [await limited.get(AUDIT, key=key, address="192.0.2.1") for _ in range(4)]
    assert [answer.status for answer in answers] == [403, 403, 403, 429]
    assert len(await entries(limited.tracker.database, action="admin_refused")) == 3


async def test_a_refusal_stays_one_when_it_cannot_be_noted(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The disk is full: the log of the process has it instead."""
    _, key = await world.account()

    async def full(*_arguments: object, **_more: object) -> None:
        raise StorageUnavailable("disk full")

    monkeypatch.setattr(audit, "record", full)
    assert (await world.get(AUDIT, key=key)).status == 403
    assert "could not be noted: disk full" in caplog.text
