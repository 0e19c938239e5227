"""The revocation list is signed anew only when it changes."""

from gpunode_protocol.identity import Identity
from gpunode_tracker.revocation_list import current_revocations

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT


async def test_the_list_changes_with_its_content(world: World) -> None:
    """The same content keeps its number; a revoked node's certificates appear under the next one."""
    tracker, node = world.tracker, Identity.generate()
    reply = await world.register(node)
    first = await current_revocations(tracker.database, tracker.keys, now=START_AT + 1)
    assert first.envelope == tracker.revocations.envelope
    await world.admin.revoke_node(node.peer_id)
    second = await current_revocations(tracker.database, tracker.keys, now=START_AT + 1)
    certificate = tracker.keys.trust.open_certificate(reply.certificate, now=START_AT).body
    assert second.body.certificates == (certificate.serial,)
    assert second.body.sequence == first.body.sequence + 1
    assert tracker.keys.trust.open_revocations(second.envelope).body == second.body
