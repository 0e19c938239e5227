import pytest
from gpunode.errors import NoNodeFound, RequestRefused
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region

from tests.sdk.world import HELLO, World


def _error(code: ErrorCode, retry_after_s: float | None = None) -> JobError:
    return job_error(code, "said the node", retry_after_s=retry_after_s)


@pytest.mark.parametrize("code", [ErrorCode.REPLAY_MEMORY_FULL, ErrorCode.GRANT_EXPIRED, ErrorCode.GRANT_REVOKED])
async def test_a_grant_that_a_node_refuses_is_replaced_once(world: World, code: ErrorCode) -> None:
    """The same node is asked again with another grant."""
    node = world.add_node(refuse=[_error(code)])
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == node.peer_id
    assert answer.route.failed == ()
    assert len(world.tracker.grants) == 2
    assert node.requests[0].request.body != node.requests[1].request.body


async def test_a_node_that_limits_open_grants_gets_one_in_its_name(world: World) -> None:
    """A second exhausted grant means that the job alone is beyond the node's limit."""
    exhausted = ErrorCode.GRANT_EXHAUSTED
    node = world.add_node(refuse=[_error(exhausted), _error(exhausted)])
    async with world.client() as client:
        await client.chat(messages=HELLO)
    assert [request.nodes is None for request in world.tracker.grants] == [True, True, False]
    assert list(world.tracker.grants[-1].nodes or ()) == [node.peer_id]


async def test_a_node_that_refuses_every_grant_is_given_up(world: World) -> None:
    """There is no endless exchange of grants."""
    full = ErrorCode.REPLAY_MEMORY_FULL
    node = world.add_node(refuse=[_error(full)] * 5)
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="said the node"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 2


async def test_a_fault_of_the_request_is_told_at_once(world: World) -> None:
    """Other nodes would refuse alike; they are not bothered."""
    for region in (Region.ASIA, Region.EUROPE):
        world.add_node(region=region, refuse=[_error(ErrorCode.INVALID_PARAMETERS)])
    async with world.client() as client:
        with pytest.raises(RequestRefused) as caught:
            await client.chat(messages=HELLO)
    assert caught.value.code is ErrorCode.INVALID_PARAMETERS
    assert sum(len(node.requests) for node in world.nodes) == 1


async def test_a_prompt_too_long_goes_only_to_larger_contexts(world: World) -> None:
    """All nodes have the same context here, so nobody else is asked."""
    for region in (Region.ASIA, Region.EUROPE):
        world.add_node(region=region, refuse=[_error(ErrorCode.CONTEXT_OVERFLOW)])
    async with world.client() as client:
        with pytest.raises(RequestRefused) as caught:
            await client.chat(messages=HELLO)
    assert caught.value.code is ErrorCode.CONTEXT_OVERFLOW
    assert sum(len(node.requests) for node in world.nodes) == 1


async def test_a_busy_node_is_passed_over(world: World) -> None:
    """Busy is no failure, and the next node answers."""
    busy = world.add_node(refuse=[_error(ErrorCode.BUSY, 2.0)])
    world.add_node(region=Region.EUROPE)
    world.remove_probe(world.nodes[1].peer_id)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert [attempt.node for attempt in answer.route.failed] == [busy.peer_id]


async def test_an_unreachable_node_is_passed_over(world: World) -> None:
    """A node whose advert is still there but which has gone."""
    gone = world.add_node()
    del world.mesh.handlers[gone.peer_id, JOB_PROTOCOL]
    world.add_node(region=Region.EUROPE)
    world.remove_probe(world.nodes[1].peer_id)
    async with world.client() as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == world.nodes[1].peer_id
    assert "could not be reached" in answer.route.failed[0].reason


async def test_no_more_nodes_are_tried_than_allowed(world: World) -> None:
    """Everybody fails; the error lists who and why."""
    for _ in range(5):
        world.add_node(cut_after=0)
    async with world.client(max_attempts=3) as client:
        with pytest.raises(NoNodeFound) as caught:
            await client.chat(messages=HELLO)
    assert len(caught.value.attempts) == 3
    assert "3 x The node's stream ended" in str(caught.value)


async def test_a_node_that_failed_is_tried_last(world: World) -> None:
    """The breaker of a node that was cut puts the other one first in the next job."""
    broken = world.add_node(cut_after=0)
    world.add_node(region=Region.EUROPE)
    async with world.client() as client:
        await client.chat(messages=HELLO)
        asked_before = world.mesh.opened[broken.peer_id, JOB_PROTOCOL]
        world.remove_probe(world.nodes[1].peer_id)
        answer = await client.chat(messages=HELLO)
    assert asked_before <= 1
    assert answer.route.node == world.nodes[1].peer_id or asked_before == 0
    assert (broken.peer_id, PROBE_PROTOCOL) in world.mesh.handlers


async def test_a_path_through_a_relay_is_named(world: World) -> None:
    """The route says how the node was reached, not what its advert claims."""
    node = world.add_node()
    world.mesh.address_of[node.peer_id] = "/ip4/11.0.0.1/tcp/4001/p2p/12D3KooW/p2p-circuit"
    async with world.client() as client:
        assert (await client.chat(messages=HELLO)).route.path == "relayed"
