"""Jobs whose ranked nodes all fail before the first output, whole, in virtual time."""

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest
from gpunode import AsyncInferenceClient
from gpunode._discovery import Discovery
from gpunode._node_queue import FIRST_PAUSE_S
from gpunode._searches import FURTHER_SEARCHES, SEARCHES_WHEN_REFUSED
from gpunode.errors import AnswerInterrupted, NoNodeFound, RequestRefused
from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.mesh.errors import MeshUnavailable
from gpunode_protocol.mesh.interface import OPEN_DEADLINE_S
from gpunode_protocol.mesh.knock import Door
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region

from tests.node.virtual_time import virtual_time
from tests.sdk.memory_mesh import MemoryMesh
from tests.sdk.world import HELLO, World

BROKEN = job_error(ErrorCode.INTERNAL, "out of order")
AT_FAULT = job_error(ErrorCode.INVALID_PARAMETERS, "said the node")
BUSY = job_error(ErrorCode.BUSY, "no room", retry_after_s=6.0)


def _client(world: World, **settings: Any) -> AsyncInferenceClient:
    return AsyncInferenceClient.from_config(world.config(**settings), world.surroundings(resume_for_s=15.0))


async def _nobody_tells(_doors: Sequence[Door]) -> bool:
    return False


@virtual_time
@pytest.mark.parametrize("where", ["dht", "index"])
async def test_who_comes_after_the_ranking_is_found(world: World, where: str) -> None:
    """In the DHT or the index; whoever failed is not asked again while there is somebody else."""
    broken = [world.add_node(refuse=[BROKEN] * 9) for _ in range(2)]
    async with _client(world) as client:
        await client.connect()
        await client.nodes()
        task = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(FIRST_PAUSE_S / 2)
        assert all(node.requests for node in broken)
        new = world.add_node(region=Region.EUROPE, where=where)
        answer = await task
    assert (answer.route.node, answer.route.source) == (new.peer_id, where)
    assert [len(node.requests) for node in broken] == [1, 1]


@virtual_time
async def test_a_node_that_recovers_is_asked_again(world: World) -> None:
    """A lone one that fails twice, as one that has just been started again."""
    node = world.add_node(refuse=[BROKEN] * 2)
    async with _client(world) as client:
        answer = await client.chat(messages=HELLO)
    assert [attempt.node for attempt in answer.route.failed] == [node.peer_id] * 2


@virtual_time
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_client_whose_own_p2pd_dies(world: World, *, has_begun: bool) -> None:
    """All its streams end, and for seconds it reaches nobody; its jobs go on when it is back."""
    nodes = [world.add_node(first_token_s=1.0, token_s=0.05) for _ in range(2)]
    serving = {node.peer_id: world.mesh.handlers[node.peer_id, JOB_PROTOCOL] for node in nodes}
    async with _client(world) as client:
        task = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(1.08 if has_begun else 0.5)
        for node in nodes:
            world.remove_node(node.peer_id)
        for stream in [*world.mesh.serving]:
            stream.cancel()
        await asyncio.sleep(4)
        for peer, handler in serving.items():
            world.mesh.handlers[peer, JOB_PROTOCOL] = handler
        answer = await task
    assert answer.response == "Paris is the capital."
    assert [part.ended for part in answer.route.segments][-1] == "done"
    assert len(answer.route.segments) == (2 if has_begun else 1)


@virtual_time
async def test_when_all_stay_broken_the_reasons_are_counted(world: World) -> None:
    """Once for each node, after a bounded number of searches, within seconds."""
    broken = [world.add_node(refuse=[BROKEN] * 9) for _ in range(3)]
    searched = 0
    begin = Discovery.begin

    def counted(self: Discovery, *args: Any, **options: Any) -> Any:
        nonlocal searched
        searched += 1
        return begin(self, *args, **options)

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Discovery, "begin", counted)
        async with _client(world) as client:
            began_at = loop.time()
            with pytest.raises(NoNodeFound, match=r"after 5 more searches.*: 3 x out of order \(internal\)$") as caught:
                await client.chat(messages=HELLO)
            took_s = loop.time() - began_at
    assert searched == 1 + FURTHER_SEARCHES
    assert {len(node.requests) for node in broken} == {1 + FURTHER_SEARCHES}
    assert not caught.value.is_only_load
    assert took_s < 10


@virtual_time
async def test_when_nobody_is_left_the_searches_are_bounded_too(world: World) -> None:
    """Whoever was known has gone: its adverts are withdrawn, and the known nodes were all that there were."""
    gone = world.add_node(refuse=[BROKEN] * 9)
    loop = asyncio.get_running_loop()
    async with _client(world) as client:
        await client.nodes()
        task = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(FIRST_PAUSE_S / 2)
        world.mesh.records.clear()
        began_at = loop.time()
        with pytest.raises(NoNodeFound, match=r"after 5 more searches.*: 1 x out of order"):
            await task
    assert loop.time() - began_at < 10
    assert len(gone.requests) == 1


@virtual_time
async def test_after_as_many_failures_as_allowed_others_are_asked(world: World) -> None:
    """Those that the job has not tried come first."""
    broken = [world.add_node(refuse=[BROKEN] * 9) for _ in range(2)]
    good = world.add_node(region=Region.EUROPE)
    good.queued = 4
    async with _client(world, max_attempts=2) as client:
        answer = await client.chat(messages=HELLO)
    assert answer.route.node == good.peer_id
    assert [len(node.requests) for node in broken] == [1, 1]


@virtual_time
async def test_a_busy_node_is_asked_when_it_said(world: World) -> None:
    """Rather than end the job."""
    node = world.add_node(refuse=[BUSY])
    loop = asyncio.get_running_loop()
    async with _client(world) as client:
        began_at = loop.time()
        answer = await client.chat(messages=HELLO)
    assert loop.time() - began_at == pytest.approx(6.0, abs=0.1)
    assert [attempt.node for attempt in answer.route.failed] == [node.peer_id]


@virtual_time
async def test_the_jobs_time_limit_ends_the_search(world: World) -> None:
    """However long there would be somebody to wait for."""
    world.add_node(refuse=[BUSY] * 9)
    loop = asyncio.get_running_loop()
    async with _client(world, job_timeout_s=4.0) as client:
        began_at = loop.time()
        with pytest.raises(NoNodeFound, match=r"The job's time is over.*no room") as caught:
            await client.chat(messages=HELLO)
    assert loop.time() - began_at == pytest.approx(4.0, abs=0.1)
    assert caught.value.is_only_load


@virtual_time
@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_search_that_nobody_answers_ends_with_the_jobs_time(world: World, *, has_begun: bool) -> None:
    """Though the DHT alone would be asked for ten seconds: peers of a mesh that breaks down say nothing."""
    world.add_node(first_token_s=1.0, cut_after=2 if has_begun else 0)

    async def say_nothing(_mesh: MemoryMesh, _key: object, *, deadline_s: float) -> NoReturn:
        await asyncio.sleep(deadline_s)
        raise MeshUnavailable

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        async with _client(world, job_timeout_s=4.0) as client:
            await client.nodes()
            began_at = loop.time()
            task = asyncio.ensure_future(client.chat(messages=HELLO))
            await asyncio.sleep(0.5)
            patch.setattr(MemoryMesh, "find", say_nothing)
            world.tracker.down = True
            with pytest.raises(AnswerInterrupted if has_begun else NoNodeFound, match="The job's time is over"):
                await task
    assert loop.time() - began_at == pytest.approx(4.0, abs=0.1)


@virtual_time
@pytest.mark.parametrize("retryable", [False, True])
async def test_a_fault_of_the_request_is_told_at_once(world: World, *, retryable: bool) -> None:
    """All that there are say so: nobody is looked for, or asked again."""
    node = world.add_node(refuse=[JobError(ErrorCode.INVALID_PARAMETERS, "said the node", retryable=retryable)] * 9)
    async with _client(world) as client:
        with pytest.raises(RequestRefused, match="said the node"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 1


@virtual_time
@pytest.mark.parametrize("is_silent", [False, True])
async def test_a_refusal_that_only_dead_nodes_could_contradict_is_told_soon(world: World, *, is_silent: bool) -> None:
    """With all reasons. A host without power, whose streams are waited for until they are given up, is tried once."""
    refuser = world.add_node(refuse=[AT_FAULT] * 9)
    dead = world.add_node()
    loop = asyncio.get_running_loop()
    surroundings = world.surroundings(resume_for_s=15.0, all_refuse=_nobody_tells)
    async with AsyncInferenceClient.from_config(world.config(), surroundings) as client:
        await client.nodes()
        if is_silent:
            world.mesh.unanswered.add(dead.peer_id)
            world.silence_probe(dead.peer_id)
        else:
            world.remove_node(dead.peer_id)
        began_at = loop.time()
        with pytest.raises(NoNodeFound, match="said the node") as caught:
            await client.chat(messages=HELLO)
    tried = [attempt.node for attempt in caught.value.attempts]
    assert (tried.count(refuser.peer_id), len(refuser.requests)) == (1, 1)
    assert 1 <= tried.count(dead.peer_id) <= (1 if is_silent else 1 + SEARCHES_WHEN_REFUSED)
    patience_s = OPEN_DEADLINE_S if is_silent else 0.0
    assert loop.time() - began_at < patience_s + 1


@virtual_time
async def test_a_refusal_does_not_end_a_job_whose_other_node_comes_back(world: World) -> None:
    """A p2pd that is started again is there after half a second."""
    refuser = world.add_node(refuse=[AT_FAULT] * 9)
    dead = world.add_node()
    serving = {protocol: world.mesh.handlers[dead.peer_id, protocol] for protocol in (PROBE_PROTOCOL, JOB_PROTOCOL)}
    async with _client(world) as client:
        await client.nodes()
        world.remove_node(dead.peer_id)
        task = asyncio.ensure_future(client.chat(messages=HELLO))
        await asyncio.sleep(0.5)
        for protocol, handler in serving.items():
            world.mesh.handlers[dead.peer_id, protocol] = handler
        answer = await task
    assert answer.route.node == dead.peer_id
    assert len(refuser.requests) == 1


@virtual_time
async def test_what_only_one_node_cannot_do_is_looked_for_as_long_as_ever(world: World) -> None:
    """It said itself that others may be able: the request is not in doubt."""
    world.add_node(refuse=[JobError(ErrorCode.INVALID_PARAMETERS, "not I", retryable=True)] * 9)
    broken = world.add_node(refuse=[BROKEN] * 9)
    async with _client(world) as client:
        with pytest.raises(NoNodeFound, match="out of order"):
            await client.chat(messages=HELLO)
    assert len(broken.requests) == 1 + FURTHER_SEARCHES


@virtual_time
async def test_who_lied_or_refused_is_not_asked_again(world: World) -> None:
    """Of three that are found again, one may have recovered."""
    liar = world.add_node(quote=10**6)
    refuser = world.add_node(refuse=[AT_FAULT] * 9)
    broken = world.add_node(refuse=[BROKEN] * 9)
    async with _client(world) as client:
        with pytest.raises(NoNodeFound, match="out of order"):
            await client.chat(messages=HELLO)
    assert (len(liar.requests), len(refuser.requests), len(broken.requests)) == (1, 1, 1 + SEARCHES_WHEN_REFUSED)


@virtual_time
async def test_a_job_of_the_trackers_queue_goes_back_to_it(world: World) -> None:
    """There it waits, not at its dispatcher."""
    node = world.add_node(refuse=[BROKEN] * 9)
    async with _client(world) as client:
        await client.connect()
        session = client._session
        ready = await session.ready()
        object.__setattr__(ready.services, "may_wait", False)
        with pytest.raises(NoNodeFound, match="out of order"):
            await client.chat(messages=HELLO)
    assert len(node.requests) == 1
