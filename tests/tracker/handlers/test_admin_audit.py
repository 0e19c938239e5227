"""The audit log over HTTP."""

import pytest
from gpunode_protocol import admin_api as admin
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.scopes import Scope

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock

AUDIT = admin.ADMIN_AUDIT_PATH


async def test_what_nodes_do_is_noted(world: World) -> None:
    """They register, are linked, and leave."""
    root = await world.key(Scope.ADMIN)
    account, key = await world.account()
    node = Identity.generate()
    token = (await world.register(node)).token
    await world.link(node, key)
    await world.delete(api.NODE_PATH.format(peer=node.peer_id), token=token)
    page = await world.read(admin.AuditPage, f"{AUDIT}?subject=node:{node.peer_id}", key=root)
    left, linked, registered = page.entries
    assert [entry.action for entry in page.entries] == ["node_left", "node_linked", "node_registered"]
    assert registered.actor == left.actor == f"node:{node.peer_id}"
    assert linked.actor.startswith("key:")
    assert linked.detail == {"account": account, "moved_microcredits": 0}
    assert {entry.address for entry in page.entries} == {"127.0.0.1"}


async def test_pages_and_filters(world: World, clock: TestClock) -> None:
    """Newest first, by cursor; filters hold together."""
    root = await world.key(Scope.ADMIN)
    clock.advance(10)
    account, _ = await world.account()
    first = await world.read(admin.AuditPage, f"{AUDIT}?limit=1", key=root)
    rest = await world.read(admin.AuditPage, f"{AUDIT}?cursor={first.next_cursor}", key=root)
    assert [entry.action for entry in (*first.entries, *rest.entries)] == [
        "key_created",
        "account_created",
        "key_created",
        "account_created",
    ]
    assert rest.next_cursor is None
    found = await world.read(admin.AuditPage, f"{AUDIT}?actor=operator&action=account_created&limit=9", key=root)
    assert len(found.entries) == 2
    late = await world.read(admin.AuditPage, f"{AUDIT}?since={START_AT + 1}&action=account_created", key=root)
    assert [entry.subject for entry in late.entries] == [f"account:{account}"]
    early = await world.read(admin.AuditPage, f"{AUDIT}?until={START_AT}", key=root)
    assert len(early.entries) == 2


@pytest.mark.parametrize("query", ["cursor=x", "since=-1", f"actor={'x' * 251}", "subject=%00", "limit=1000"])
async def test_queries_that_cannot_be_used(query: str, world: World) -> None:
    """The answer says what may stand there."""
    root = await world.key(Scope.ADMIN)
    assert (await world.problem(await world.get(f"{AUDIT}?{query}", key=root))).status == 422
