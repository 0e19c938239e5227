"""Jobs of one client that are more than a node takes of it at once, whole. Places alone: see ``test_node_places``."""

import asyncio

import pytest
from gpunode import AsyncInferenceClient
from gpunode._job_services import JobServices
from gpunode._probing import FRESH_S
from gpunode.errors import NoNodeFound
from gpunode.types import ChatResult
from gpunode_protocol.adverts import Speed
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.messages import JOB_PROTOCOL
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.world import HELLO, World

LIMIT = MAX_STREAMS_PER_PEER
SLOW = Speed(input_milliunits_per_s=50_000, output_milliunits_per_s=100)


async def _ask(client: AsyncInferenceClient, jobs: int) -> list[ChatResult]:
    return await asyncio.gather(*(client.chat(messages=HELLO) for _ in range(jobs)))


def _services(client: AsyncInferenceClient) -> JobServices:
    assert client._session._open is not None
    return client._session._open.services


@virtual_time
async def test_twenty_jobs_at_once_are_all_answered(world: World) -> None:
    """A lone node takes 8 of one client; the others wait, nobody has failed, and the wait is told."""
    node = world.add_node(max_streams=LIMIT, token_s=0.1)
    async with world.client() as client:
        answers = await _ask(client, 20)
    assert {answer.response for answer in answers} == {"Paris is the capital."}
    assert [answer.route.failed for answer in answers] == [()] * 20
    assert (node.most_streams, len(node.requests)) == (LIMIT, 20)
    waits = sorted(answer.start.place_ms for answer in answers)
    assert waits[: LIMIT + 1] == [0.0] * LIMIT + [pytest.approx(300, abs=20)]
    assert all(answer.ttft_ms >= answer.start.place_ms for answer in answers)


@virtual_time
async def test_a_ninth_job_right_after_eight(world: World) -> None:
    """The eight are done for the caller, while their last vouchers are on their way."""
    world.add_node(max_streams=LIMIT)
    async with world.client() as client:
        await _ask(client, LIMIT)
        assert (await client.chat(messages=HELLO)).route.failed == ()


@virtual_time
async def test_a_free_node_takes_what_a_better_one_does_not(world: World) -> None:
    """Rather than wait. Without a free one, the job waits where it would be answered sooner."""
    near = world.add_node(endless=True, token_s=0.1)
    far = world.add_node(region=Region.EUROPE, speed=SLOW, token_s=0.1)
    async with world.client() as client:
        streams = [await client.chat(messages=HELLO, stream=True) for _ in range(LIMIT)]
        await asyncio.gather(*(anext(stream) for stream in streams))
        assert [len(near.requests), len(far.requests)] == [LIMIT, 0]
        assert (await client.chat(messages=HELLO)).route.node == far.peer_id
        far.active = 4
        await asyncio.sleep(FRESH_S)
        waiting = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(3)
        assert [len(near.requests), len(far.requests)] == [LIMIT, 1]
        near.endless = False
        assert (await waiting).route.node == near.peer_id


@virtual_time
async def test_one_stream_too_many_is_no_failure(world: World) -> None:
    """The node knows of more streams than this client, whose key may be used twice. It waits for its own to end."""
    node = world.add_node(max_streams=2, token_s=0.1)
    async with world.client() as client:
        answers = await _ask(client, 5)
        blocked = _services(client).breakers.blocked(asyncio.get_running_loop().time())
    assert [answer.route.failed for answer in answers] == [()] * 5
    assert (node.most_streams, blocked) == (2, frozenset())


@virtual_time
async def test_who_waits_in_vain_is_told_why(world: World) -> None:
    """The job's own time ends the wait."""
    node = world.add_node()
    async with world.client(job_timeout_s=20.0) as client:
        await client.connect()
        for _ in range(LIMIT):
            _services(client).places.take(node.peer_id)
        with pytest.raises(NoNodeFound, match=r"as many jobs of this client as they take\. The job's time is over"):
            await client.chat(messages=HELLO)


@virtual_time
async def test_a_node_whose_other_streams_take_long_is_waited_for(world: World) -> None:
    """Somebody else uses the client's key there; most of a minute of refusals uses up no requests."""
    node = world.add_node(max_streams=0)
    async with world.client() as client:
        waiting = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(55)
        node.max_streams = LIMIT
        answer = await waiting
    assert (answer.route.failed, answer.start.place_ms) == ((), pytest.approx(55_000, abs=1_000))


@virtual_time
async def test_a_node_whose_other_streams_never_end_is_given_up(world: World) -> None:
    """After a minute, long before the job's time is over; the error says what may be the matter."""
    world.add_node(max_streams=0)
    began_at = asyncio.get_running_loop().time()
    async with world.client(job_timeout_s=600.0) as client:
        with pytest.raises(NoNodeFound, match=r"another program may use this client's key.*Close one first") as caught:
            await client.chat(messages=HELLO)
        took_s = asyncio.get_running_loop().time() - began_at
    assert took_s == pytest.approx(60, abs=2)
    assert caught.value.is_only_load


@virtual_time
async def test_many_jobs_are_given_up_together(world: World) -> None:
    """Requests of this client that are refused as well are no streams whose end could be waited for."""
    world.add_node(max_streams=0)
    began_at = asyncio.get_running_loop().time()
    async with world.client(job_timeout_s=600.0) as client:
        jobs = (client.chat(messages=HELLO) for _ in range(12))
        ends = await asyncio.gather(*jobs, return_exceptions=True)
        took_s = asyncio.get_running_loop().time() - began_at
    assert {type(end) for end in ends} == {NoNodeFound}
    assert took_s == pytest.approx(60, abs=5)


@virtual_time
async def test_after_a_minute_of_refusals_other_nodes_are_looked_for(world: World) -> None:
    """One that has come up meanwhile does the job."""
    full = world.add_node(max_streams=0)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        waiting = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(5)
        new = world.add_node(region=Region.EUROPE)
        world.now += 5
        answer = await waiting
    assert (answer.route.node, [attempt.node for attempt in answer.route.failed]) == (new.peer_id, [full.peer_id])


@virtual_time
async def test_a_node_at_which_own_jobs_run_is_waited_for_as_long_as_they_do(world: World) -> None:
    """Each of them ends some time, and then there is room."""
    node = world.add_node(max_streams=1, endless=True, token_s=0.05)
    async with world.client() as client:
        first = await client.chat(messages=HELLO, stream=True, max_tokens=4_000)
        await anext(first)
        waiting = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(100)
        node.endless = False
        await first.close()
        assert (await waiting).route.failed == ()


@virtual_time
async def test_a_node_that_never_has_room_is_given_up(world: World) -> None:
    """When the job's time is over, with its words."""
    world.add_node(max_streams=0)
    async with world.client(job_timeout_s=20.0) as client:
        with pytest.raises(NoNodeFound, match=r"Close one first.*The job's time is over") as caught:
            await client.chat(messages=HELLO)
    assert caught.value.is_only_load


@virtual_time
async def test_a_node_that_refuses_is_not_waited_for_while_another_has_room(world: World) -> None:
    """Also where the other one is busy, and has a job of this client already."""
    near = world.add_node(max_streams=0)
    far = world.add_node(region=Region.EUROPE, speed=SLOW, active=4, endless=True, token_s=0.1)
    async with world.client() as client:
        first = await client.chat(messages=HELLO, stream=True)
        await anext(first)
        far.endless = False
        answer = await client.chat(messages=HELLO)
        await first.close()
    assert (answer.route.node, len(near.requests), answer.start.place_ms) == (far.peer_id, 0, 0.0)


@virtual_time
async def test_too_many_streams_after_acceptance_is_a_failure(world: World) -> None:
    """There was room for this one."""
    world.add_node(cut_after=0, cut_with=job_error(ErrorCode.TOO_MANY_STREAMS, "Close one first."))
    async with world.client() as client:
        with pytest.raises(NoNodeFound, match="None of the nodes"):
            await client.chat(messages=HELLO)


@virtual_time
async def test_who_waits_does_not_go_to_a_node_that_has_failed_meanwhile(world: World) -> None:
    """Of two nodes that are full one dies without a word: only those that were there lose time by it."""
    nodes = [world.add_node(endless=True, token_s=0.1) for _ in range(2)]
    async with world.client() as client:
        jobs = asyncio.ensure_future(_ask(client, 4 * LIMIT))
        await asyncio.sleep(2)
        lives, dies = nodes
        assert [node.streams for node in nodes] == [LIMIT, LIMIT]
        lives.endless = False
        world.mesh.unanswered.add(dies.peer_id)
        for task in [task for task in world.mesh.serving if task.get_name() == dies.peer_id]:
            task.cancel()
        opened = world.mesh.opened[dies.peer_id, JOB_PROTOCOL]
        results = await jobs
    assert world.mesh.opened[dies.peer_id, JOB_PROTOCOL] == opened
    assert all(result.response for result in results)


@virtual_time
async def test_an_answer_that_broke_off_goes_before_new_jobs(world: World) -> None:
    """Its caller has seen the beginning."""
    node = world.add_node(max_streams=LIMIT, token_s=0.1, cut_after=2)
    surroundings = world.surroundings(resume_for_s=15.0)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        cut = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(0.05)
        others = asyncio.ensure_future(_ask(client, 30))
        await asyncio.sleep(0.17)
        node.cut_after = None  # the first one was cut, the others have not come so far
        answer = await cut
        assert not others.done()
        await others
    assert [part.output_units for part in answer.route.segments] == [2, 2]


@virtual_time
async def test_a_job_that_is_cancelled_while_it_waits_keeps_no_place(world: World) -> None:
    """Whoever comes after it is served."""
    node = world.add_node(max_streams=LIMIT, token_s=0.1)
    async with world.client() as client:
        eight = asyncio.ensure_future(_ask(client, LIMIT))
        await asyncio.sleep(0.05)
        waiting = [asyncio.ensure_future(client.chat(messages=HELLO)) for _ in range(3)]
        await asyncio.sleep(0.1)
        for task in waiting[:2]:
            task.cancel()
        await asyncio.gather(eight, waiting[2])
    assert len(node.requests) == LIMIT + 1


@virtual_time
async def test_a_job_that_is_cancelled_while_it_is_sent_keeps_no_place(world: World) -> None:
    """It waits for the turn of another one, or for its own stream."""
    node = world.add_node()
    world.mesh.unanswered.add(node.peer_id)
    async with world.client() as client:
        tasks = [asyncio.ensure_future(client.chat(messages=HELLO)) for _ in range(3)]
        await asyncio.sleep(0.01)
        assert _services(client).places.has_jobs(node.peer_id)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not _services(client).places.has_jobs(node.peer_id)
