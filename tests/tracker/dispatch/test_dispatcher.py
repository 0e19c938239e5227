"""Jobs come from the queue to nodes by themselves, as long as these have room."""

import asyncio
from typing import Any

import pytest
from gpunode_protocol.errors import ErrorCode, GpunodeError, job_error
from gpunode_protocol.identity import PeerId
from gpunode_protocol.jobs_api import JobEventName
from gpunode_protocol.messages import JOB_PROTOCOL, PROBE_PROTOCOL
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch import dispatcher
from gpunode_tracker.dispatch.join_ahead import JoinAhead
from gpunode_tracker.errors import KeysUnusable, StorageUnavailable
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.keys import KeyRing
from gpunode_tracker.storage.claim_statements import ALONE_SHUN_S
from gpunode_tracker.storage.queue_heads import Head
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.workers.nearest_first import KEEP_S

from tests.sdk.memory_mesh import MemoryStream
from tests.sdk.scripted_node import ScriptedNode
from tests.tracker.dispatch.mesh_world import ANSWER_COST, MeshWorld
from tests.tracker.parties import TestClock
from tests.tracker.workers.examples import live_worker


def limit_jobs(tracker: Tracker, jobs: int) -> None:
    """Let a dispatcher send so many jobs at once."""
    tracker.settings = tracker.settings.model_copy(update={"dispatch_jobs": jobs})


def when_probed(mesh: MeshWorld, node: ScriptedNode) -> asyncio.Event:
    """Return what is set when a node has answered a probe."""
    probed = asyncio.Event()

    async def serve(stream: MemoryStream) -> None:
        await node.serve_probe(stream)
        probed.set()

    mesh.mesh.handlers[node.peer_id, PROBE_PROTOCOL] = serve
    return probed


def when_called(monkeypatch: pytest.MonkeyPatch, name: str, *, times: int) -> asyncio.Event:
    """Return what is set when the dispatcher has called a function so often from now on."""
    called, function, left = asyncio.Event(), getattr(dispatcher, name), iter(range(times, 0, -1))

    async def counted(*arguments: Any) -> Any:
        if next(left, 0) <= 1:
            called.set()
        return await function(*arguments)

    monkeypatch.setattr(dispatcher, name, counted)
    return called


async def until(event: asyncio.Event) -> None:
    """Wait for something, not for ever."""
    async with asyncio.timeout(20):
        await event.wait()


async def test_a_queued_job_is_done_by_a_node(mesh: MeshWorld) -> None:
    """Its result, its news and its money, as if the client had asked the node itself."""
    node = await mesh.add_node()
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.until_done(job)
    done = await mesh.find(job)
    assert (done.status, done.node, done.attempt) == (JobStatus.COMPLETED, node.peer_id, 1)
    assert mesh.tracker.desk.result_of(done) == {
        "response": "Paris is the capital.",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 7, "completion_tokens": 4},
    }
    assert mesh.text(job) == "Paris is the capital."
    running = [data for name, data in mesh.told(job) if name == JobEventName.RUNNING]
    assert running == [{"attempt": 1, "served_by": None}, {"attempt": 1, "served_by": f"node:{node.peer_id}"}]
    assert mesh.told(job)[-1] == (JobEventName.DONE, {"status": JobStatus.COMPLETED})
    assert (await mesh.spent(), await mesh.earned(), await mesh.reserved(job)) == (ANSWER_COST, ANSWER_COST, 0)
    counted = mesh.tracker.metrics.render().decode()
    assert 'dispatched_jobs_total{type="llm"} 1.0' in counted
    assert 'dispatch_ends_total{end="completed",type="llm"} 1.0' in counted


async def test_the_first_node_lets_the_mesh_be_joined(mesh: MeshWorld) -> None:
    """Ahead of the first job, which would wait for it."""
    joined = asyncio.Event()

    async def join() -> None:
        joined.set()

    async with mesh.dispatcher() as running:
        running._join_ahead = JoinAhead(join, after_s=0)
        await mesh.add_node()
        await until(joined)


async def test_jobs_that_waited_go_in_their_order(mesh: MeshWorld) -> None:
    """The highest priority first."""
    limit_jobs(mesh.tracker, 1)
    jobs = [await mesh.submit(priority=priority) for priority in (0, 9, 5)]
    node = await mesh.add_node()
    async with mesh.dispatcher():
        await mesh.until_done(*jobs)
    order = [word.job_id for word in mesh.words if word.name == JobEventName.DONE]
    assert order == [jobs[1].id, jobs[2].id, jobs[0].id]
    assert len(node.jobs) == 3


async def test_no_more_jobs_at_once_than_the_settings_allow(mesh: MeshWorld) -> None:
    """The next one is taken when one has ended."""
    limit_jobs(mesh.tracker, 2)
    await mesh.add_node(endless=True, token_s=0.01)
    jobs = [await mesh.submit(params=_long()) for _ in range(3)]
    async with mesh.dispatcher() as running:
        for job in jobs[:2]:
            await mesh.until(job, lambda job=job: bool(mesh.text(job)))  # type: ignore[misc]  # -- as in mesh_world
        assert len(running.running) == 2
        assert (await mesh.find(jobs[2])).attempt == 0
        await mesh.tracker.desk.cancel(jobs[0])
        await mesh.until(jobs[2], lambda: bool(mesh.text(jobs[2])))


def _long() -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100_000}


async def test_a_full_node_gets_no_job(mesh: MeshWorld) -> None:
    """It would wait there, while somebody else could do it; a node that comes is asked at once."""
    full = await mesh.add_node(active=4)
    probed = when_probed(mesh, full)
    async with mesh.dispatcher():
        job = await mesh.submit()
        await until(probed)
        assert (await mesh.find(job)).attempt == 0
        free = await mesh.add_node(Region.ASIA)
        await mesh.until_done(job)
    assert (await mesh.find(job)).node == free.peer_id
    assert full.jobs == []


async def test_a_node_s_slots_are_filled_and_not_more(mesh: MeshWorld) -> None:
    """Its last answer to a probe does not know yet of the jobs that were sent since."""
    limit_jobs(mesh.tracker, 100)
    node = await mesh.add_node(endless=True, token_s=0.01)
    jobs = [await mesh.submit(params=_long()) for _ in range(6)]
    async with mesh.dispatcher() as running:
        for job in jobs[:4]:
            await mesh.until(job, lambda job=job: bool(mesh.text(job)))  # type: ignore[misc]  # -- as above
        await until(when_probed(mesh, node))  # its answer is good for 2 s, then it is asked again
        assert len(running.running) == 4
        assert [(await mesh.find(job)).attempt for job in jobs[4:]] == [0, 0]


async def test_a_lane_that_nobody_can_serve_holds_nobody_up(mesh: MeshWorld) -> None:
    """Its job stays as it is, for whoever comes; nodes are not bothered for it."""
    node = await mesh.add_node()
    other = await mesh.submit(model="llama-3", priority=9)
    elsewhere = await mesh.submit(region=Region.AFRICA, priority=9)
    speech = await mesh.submit(type=Task.WHISPER, params={"audio": "UklGRg==", "max_minutes": 1}, priority=9)
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.until_done(job)
    assert [(await mesh.find(each)).attempt for each in (other, elsewhere, speech)] == [0, 0, 0]
    assert len(node.jobs) == 1


async def test_a_node_that_comes_is_noticed_at_once(mesh: MeshWorld) -> None:
    """The jobs that have waited for it begin."""
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.add_node()
        await mesh.until_done(job)


async def test_a_job_that_found_no_room_goes_back_and_is_sent_again(mesh: MeshWorld) -> None:
    """A node may fill up between its answer and the job. No attempt is counted."""
    refusal: Any = job_error(ErrorCode.BUSY, "full", retry_after_s=0.1)
    node = await mesh.add_node(refuse=[refusal])
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.until_done(job)
    assert (await mesh.find(job)).attempt == 1
    assert await mesh.failures(job) == []
    told = [name for name, data in mesh.told(job) if name != JobEventName.TOKENS and "served_by" not in data]
    assert told == [JobEventName.QUEUED, JobEventName.DONE]
    assert len(node.jobs) == 1


async def test_what_the_only_node_failed_is_left_alone_for_a_while(
    mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By other replicas too, and after a restart: the job's attempts are not used up at once."""
    monkeypatch.setattr(dispatcher, "LONGEST_PAUSE_S", 0.01)
    refusals: list[Any] = [job_error(ErrorCode.INTERNAL, "the engine ended") for _ in range(4)]
    node = await mesh.add_node(refuse=refusals)
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.until(job, lambda: JobEventName.QUEUED in dict(mesh.told(job)))
    async with mesh.dispatcher():  # knows nothing of the node's failure
        looked = when_called(monkeypatch, "queue_heads", times=5)
        await until(when_probed(mesh, node))
        await until(looked)
        assert (await mesh.find(job)).attempt == 1
        refusals.clear()
        mesh.tracker.clock.advance(ALONE_SHUN_S)  # type: ignore[attr-defined]  # -- the tests' clock
        await mesh.until_done(job)
    assert ((await mesh.find(job)).status, (await mesh.find(job)).attempt) == (JobStatus.COMPLETED, 2)


async def test_jobs_at_nodes_have_some_time_when_the_tracker_stops(
    mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever needs longer goes back to the queue, and the next life takes it again."""
    monkeypatch.setattr(dispatcher, "STOP_PATIENCE_S", 0.5)
    await mesh.add_node(token_s=0.05)
    endless = await mesh.add_node(Region.ASIA, model="endless", endless=True, token_s=0.01)
    short, long = await mesh.submit(), await mesh.submit(model="endless", params=_long())
    async with mesh.dispatcher():
        for job in (short, long):
            await mesh.until(job, lambda job=job: bool(mesh.text(job)))  # type: ignore[misc]  # -- as above
    assert (await mesh.find(short)).status is JobStatus.COMPLETED
    given_back = await mesh.find(long)
    assert (given_back.status, given_back.attempt) == (JobStatus.QUEUED, 0)
    endless.endless = False
    async with mesh.dispatcher():
        await mesh.until_done(long)
    assert (await mesh.find(long)).attempt == 1


async def test_a_dispatcher_that_never_began_stops(mesh: MeshWorld) -> None:
    """The tracker was stopped before it was ready."""
    await dispatcher.Dispatcher(mesh.tracker, "here", mesh.surroundings()).stop()


async def test_it_goes_on_after_a_failure(mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database was away, or there is a mistake of ours: it is told and tried again."""
    monkeypatch.setattr(dispatcher, "FAILURE_PAUSE_S", 0.0)
    failures: list[Exception] = [StorageUnavailable(), ValueError("a mistake")]
    heads = dispatcher.queue_heads

    async def away(connection: Any) -> Any:
        if failures:
            raise failures.pop(0)
        return await heads(connection)

    monkeypatch.setattr(dispatcher, "queue_heads", away)
    await mesh.add_node()
    async with mesh.dispatcher():
        job = await mesh.submit()
        await mesh.until_done(job)


async def test_a_tracker_that_cannot_sign_sends_nothing(mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """No attempt is lost to it: the job is sent when there is a key again."""
    monkeypatch.setattr(dispatcher, "FAILURE_PAUSE_S", 0.0)

    def no_key(*_: object) -> Any:
        raise KeysUnusable("The file is missing.")

    await mesh.add_node()
    async with mesh.dispatcher() as sending:
        with monkeypatch.context() as without:
            without.setattr(KeyRing, "signer", no_key)
            job = await mesh.submit()
            assert await sending._look() is dispatcher._Found.FAILURE
            assert (await mesh.find(job)).attempt == 0
        await mesh.until_done(job)


async def test_a_job_whose_end_nobody_takes_is_left_to_its_lease(
    mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dispatcher lives on."""
    ended, begun = asyncio.Event(), asyncio.Event()

    async def lost(_self: Any) -> None:
        begun.set()
        await ended.wait()
        raise StorageUnavailable

    monkeypatch.setattr(dispatcher.DispatchedJob, "run", lost)
    await mesh.add_node()
    async with mesh.dispatcher() as running:
        job: StoredJob = await mesh.submit()
        await until(begun)
        ((sent, task),) = running._running.items()
        sent.started.set()
        ended.set()
        await task
        assert not running.running
    assert (await mesh.find(job)).status is JobStatus.RUNNING
    assert 'dispatch_ends_total{end="lost",type="llm"} 1.0' in mesh.tracker.metrics.render().decode()


async def test_a_node_that_is_gone_is_asked_no_more_than_a_pause_allows(mesh: MeshWorld) -> None:
    """Its advert lives on for a while; the job waits in the queue, and other lanes go on."""
    gone = await mesh.add_node(model="gone")
    for protocol in (JOB_PROTOCOL, PROBE_PROTOCOL):
        del mesh.mesh.handlers[PeerId(gone.peer_id), protocol]
    await mesh.add_node(Region.ASIA)
    stranded = await mesh.submit(model="gone", priority=9)
    async with mesh.dispatcher():
        jobs = [await mesh.submit() for _ in range(5)]
        await mesh.until_done(*jobs)
    assert (await mesh.find(stranded)).attempt == 0


async def test_a_young_job_is_kept_for_a_nearer_pull_worker(mesh: MeshWorld, clock: TestClock) -> None:
    """No node on another continent has it in its first second; then any may."""
    await mesh.add_node(Region.EUROPE)
    nearest, looked = mesh.tracker.workers.nearest, asyncio.Event()
    nearest.waiting = lambda *_: [live_worker(1, region="asia")]
    keeps = nearest.keeps_from_mesh

    def keeps_from_mesh(head: Head, way_km: int) -> bool:
        looked.set()
        return keeps(head, way_km)

    nearest.keeps_from_mesh = keeps_from_mesh  # type: ignore[method-assign]  # -- the test's own step in between
    async with mesh.dispatcher():
        job = await mesh.submit(client_region=Region.ASIA)
        await until(looked)
        assert (await mesh.find(job)).attempt == 0
        clock.advance(KEEP_S)
        await mesh.until_done(job)


async def test_a_young_job_is_kept_for_a_nearer_node(mesh: MeshWorld) -> None:
    """No pull worker on another continent has it in its first second, as long as jobs are sent to nodes."""
    await mesh.add_node(Region.ASIA)
    head = Head("llm/*/*", int(mesh.tracker.clock() * 1000), "asia")
    keeps, far = mesh.tracker.workers.nearest.keeps_from_worker, live_worker(1, region="europe")
    assert not keeps(head, far)
    async with mesh.dispatcher():
        assert keeps(head, far)
        assert not keeps(head, live_worker(2, region="asia"))
        limit_jobs(mesh.tracker, 0)
        assert not keeps(head, far)
    assert not keeps(head, far)


async def test_no_job_is_kept_for_nodes_that_cannot_be_sent_any(
    mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the tracker's own way into the mesh is broken, pull workers elsewhere have young jobs at once."""
    failed, looks, heads = asyncio.Event(), 0, dispatcher.queue_heads

    async def away(_: Any) -> Any:
        nonlocal looks
        looks += 1
        if looks > 1:  # so the first one has failed
            failed.set()
        raise GpunodeError("No way into the mesh.")

    monkeypatch.setattr(dispatcher, "queue_heads", away)
    monkeypatch.setattr(dispatcher, "FAILURE_PAUSE_S", 0.0)
    await mesh.add_node(Region.ASIA)
    head = Head("llm/*/*", int(mesh.tracker.clock() * 1000), "asia")
    keeps, far = mesh.tracker.workers.nearest.keeps_from_worker, live_worker(1, region="europe")
    async with mesh.dispatcher():
        await until(failed)
        assert not keeps(head, far)
        monkeypatch.setattr(dispatcher, "queue_heads", heads)
        job = await mesh.submit()
        await mesh.until_done(job)
        assert keeps(head, far)


async def test_a_job_that_was_kept_for_a_full_node_is_for_others_at_once(mesh: MeshWorld) -> None:
    """Before the nodes were asked, one that lives was taken to have room. Who waits is told that it has none."""
    await mesh.add_node(Region.ASIA, active=4)
    news, keeps, far = mesh.tracker.news, mesh.tracker.workers.nearest.keeps_from_worker, live_worker(1)
    async with mesh.dispatcher():
        job = await mesh.submit(client_region=Region.ASIA)
        changes, head = news.changes, Head(job.lane, job.rank, job.client_region, job.priority)
        assert keeps(head, far)
        assert await news.wait_for_queue(changes, 10)
        assert not keeps(head, far)


async def test_what_stands_behind_a_job_that_is_kept_is_sent(mesh: MeshWorld, clock: TestClock) -> None:
    """It has waited for long enough; the urgent one is for a nearer pull worker still."""
    await mesh.add_node(Region.EUROPE)
    mesh.tracker.workers.nearest.waiting = lambda *_: [live_worker(1, region="asia")]
    old = await mesh.submit(client_region=Region.ASIA)
    clock.advance(KEEP_S)
    urgent = await mesh.submit(client_region=Region.ASIA, priority=9)
    async with mesh.dispatcher():
        await mesh.until_done(old)
        assert (await mesh.find(urgent)).attempt == 0
