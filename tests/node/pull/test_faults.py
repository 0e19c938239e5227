"""What goes wrong between a pull worker, its tracker and its engine, and what comes of it."""

import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiohttp import web
from gpunode_engines.errors import EngineCrashed
from gpunode_node import first_contact
from gpunode_node.errors import OtherNetwork, TrackerRefused, TrackerUnreachable
from gpunode_node.sqlite_thread import SqliteThread
from gpunode_protocol.grants import Cap, Confirmation
from gpunode_protocol.signing import sign

from tests.node.fake_tracker import network_info
from tests.node.pull.fake_queue import Given, envelope_of_garbage, refusing, running_queue, unsigned
from tests.node.pull.running_worker import Workshop, fake_engine, running_worker, worker_settings
from tests.node.world import CLIENT, EPOCH, OTHER, grant, job_id, token


async def test_a_tracker_that_was_never_met(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker does not start, and says what to check."""
    monkeypatch.setattr(first_contact, "FIRST_CONTACT_TIMEOUT_S", 0)
    async with running_queue() as queue:
        queue.down = True
        with pytest.raises(TrackerUnreachable, match="--tracker"):
            async with running_worker(worker_settings(tmp_path / "n", queue)):
                pass


async def test_a_tracker_that_is_down_at_the_second_start(tmp_path: Path) -> None:
    """The worker starts with what it knows and takes jobs as soon as the tracker is back."""
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue)
        async with running_worker(settings):
            pass
        queue.down = True
        async with running_worker(settings) as worker:
            assert worker.parts.link.problem
            queue.put()
            queue.down = False
            (ended,) = await queue.until_ended()
            assert ended.body.success


async def test_another_network(tmp_path: Path) -> None:
    """A tracker that changed its network gets no work out of this key."""
    from gpunode_protocol.keyset import KeySet, network_id_of

    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue)
        async with running_worker(settings):
            pass
        keys = KeySet(network=network_id_of(OTHER.public_key), sequence=1, issued_at=EPOCH, keys=())
        queue.info = network_info(root_public_key=OTHER.public_key, keyset=sign(OTHER, keys).envelope)
        with pytest.raises(OtherNetwork, match="--data-dir"):
            async with running_worker(settings):
                pass


async def test_a_refused_registration(tmp_path: Path) -> None:
    """The tracker's words are the owner's to read."""
    async with running_queue() as queue:
        queue.answers["register"] = refusing(403, "This worker was shut out.")
        with pytest.raises(TrackerRefused, match="shut out"):
            async with running_worker(worker_settings(tmp_path / "n", queue)):
                pass


async def test_a_tracker_that_goes_away_in_the_middle_of_a_job(tmp_path: Path) -> None:
    """The job is finished and delivered when the tracker is back; its lease is asked for until then."""
    engine = fake_engine(stepped=True)
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue)
        async with running_worker(settings, Workshop([engine])) as worker:
            first = queue.put()
            engine.step(1)
            await queue.until(lambda: queue.text_of(first))
            queue.down = True
            engine.step(10)
            await _until(lambda: worker.parts.courier.problem)
            assert worker.parts.bench.holding == {first: 1}
            assert worker.parts.outbox.counts() == {"ready": 1, "unwritten": 0}
            queue.down = False
            (ended,) = await queue.until_ended()
            assert ended.result["response"] == "Paris."
            await worker.parts.bench.wait_idle(10)
            assert worker.parts.courier.problem == ""


async def test_what_a_process_could_not_deliver_the_next_one_does(tmp_path: Path) -> None:
    """Results survive a worker that ends while the tracker is away."""
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, drain_timeout_s=0)
        async with running_worker(settings) as worker:
            queue.answers["complete"] = refusing(503)
            job = queue.put()
            await _until(lambda: worker.parts.courier.problem)
            os.kill(os.getpid(), signal.SIGTERM)
            await queue.until(lambda: queue.beats[-1].status == "offline")
            os.kill(os.getpid(), signal.SIGTERM)
            assert await worker.running == 1
        assert queue.ended == []
        del queue.answers["complete"]
        async with running_worker(settings):
            (ended,) = await queue.until_ended()
            assert (ended.job_id, ended.result["response"]) == (job, "Paris.")


async def test_a_rotated_token(tmp_path: Path) -> None:
    """The worker registers again, with the same key, in the middle of a job, and loses nothing."""
    engine = fake_engine(stepped=True)
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), Workshop([engine])):
        first = queue.put()
        engine.step(1)
        await queue.until(lambda: queue.text_of(first))
        queue.tokens = ["another"]
        engine.step(10)
        (ended,) = await queue.until_ended()
        assert ended.result["response"] == "Paris."
        assert len(queue.enlisted) == 2


async def test_a_lost_lease(tmp_path: Path) -> None:
    """At the first word that is refused the engine stops, nothing is delivered, and the next job is taken."""
    engine = fake_engine(answer="x" * 99, stepped=True)
    workshop = Workshop([engine])
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), workshop) as worker:
        first = queue.put(params={"messages": [{"role": "user", "content": "a"}], "max_tokens": 99})
        engine.step(1)
        await queue.until(lambda: queue.text_of(first))
        queue.lost.add(first)
        engine.step(1)
        await _until(lambda: worker.parts.bench.is_idle)
        await _until(lambda: engine.active_jobs == 0)
        second = queue.put()
        engine.step(99)
        (ended,) = await queue.until_ended()
        assert ended.job_id == second


async def test_a_cancelled_job_that_says_nothing(tmp_path: Path) -> None:
    """The next heartbeat brings the news, so that an engine that is still reading a prompt stops too."""
    engine = fake_engine()
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, heartbeat_interval_s=1)
        async with running_worker(settings, Workshop([engine])) as worker:
            engine.hang()
            job = queue.put()
            await queue.until(lambda: any(job in beat.holding for beat in queue.beats))
            queue.lost.add(job)
            await _until(lambda: worker.parts.bench.is_idle)
            await _until(lambda: engine.active_jobs == 0)
            assert queue.ended == []


@pytest.mark.parametrize(
    "body",
    [
        b"garbage",
        b'{"job_id": 7}',
        b"[]",
        b'{"job_id": "../../etc", "type": "llm", "params": {}, "attempt": 1, "lease_s": 60}',
        b'{"job_id": "01900000-0000-7000-8000-000000000001", "type": "llm", "params": {}, "attempt": 1, "lease_s": -1}',
    ],
)
async def test_an_answer_that_is_no_job(tmp_path: Path, body: bytes) -> None:
    """It is skipped, and not held for ever: the job after it is done."""
    async with running_queue() as queue:
        queue.put_as_it_is(body)
        async with running_worker(worker_settings(tmp_path / "n", queue)) as worker:
            job = queue.put()
            (ended,) = await queue.until_ended()
            assert ended.job_id == job
            assert await worker.parts.bench.wait_idle(10)


async def test_jobs_that_this_key_cannot_answer(tmp_path: Path) -> None:
    """They are given back at once, each with its reason: nobody waits for a lease to end."""
    async with running_queue() as queue:
        for number, (changes, words) in enumerate(_UNUSABLE):
            queue.put_as_it_is(unsigned(job_id(7_000 + number), **changes))
            assert words
        async with running_worker(worker_settings(tmp_path / "n", queue)):
            ended = await queue.until_ended(len(_UNUSABLE))
            reasons = {each.job_id: each.body for each in ended}
            for number, (_, words) in enumerate(_UNUSABLE):
                body = reasons[job_id(7_000 + number)]
                assert not body.success
                assert words in body.error


_UNUSABLE = (
    ({}, "without a signed request"),
    ({"request": envelope_of_garbage()}, "version"),
    ({"attempt": None}, "without a signed request"),
)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"signer": OTHER}, "grant"),  # a client that the grant is not for
        ({"node": OTHER.peer_id}, "another node"),
        ({"network": "f" * 40}, "another network"),
        ({"issued_at": EPOCH - 3_600}, "clock"),
        ({"deadline_at": EPOCH - 1}, "deadline"),
        ({"model": "gpt-9"}, "does not serve gpt-9"),
        ({"grant_token": token(grant(exp=EPOCH - 1_000, iat=EPOCH - 2_000))}, "grant"),
        ({"grant_token": token(grant(), signer=OTHER)}, "grant"),
        ({"fingerprint": b"x" * 32}, "other weights"),
    ],
)
async def test_requests_are_checked_as_in_the_mesh(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    """Network, addressee, signature, times, grant, model and weights."""
    async with running_queue() as queue:
        given = dict(changes)
        if given.get("signer") is OTHER:
            given["grant_token"] = token(grant(cnf=Confirmation(peer=CLIENT.peer_id)))
        queue.put(**given)
        async with running_worker(worker_settings(tmp_path / "n", queue)):
            (ended,) = await queue.until_ended()
            assert not ended.body.success
            assert words in ended.body.error


async def test_a_tampered_request(tmp_path: Path) -> None:
    """A signature that does not fit is no order."""
    async with running_queue() as queue:
        queue.put()
        given = queue.waiting[0]
        assert isinstance(given, Given)
        assert given.job.request is not None
        forged = given.job.request.model_copy(update={"signature": bytes(64)})
        given.job = given.job.model_copy(update={"request": forged})
        async with running_worker(worker_settings(tmp_path / "n", queue)):
            (ended,) = await queue.until_ended()
            assert "signature" in ended.body.error.lower()


async def test_an_engine_that_crashes(tmp_path: Path) -> None:
    """The attempt fails with the cause, and the worker goes on with the next job."""
    engine = fake_engine(stepped=True)
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), Workshop([engine])):
        first = queue.put()
        engine.step(1)
        await queue.until(lambda: queue.text_of(first))
        await engine.crash(EngineCrashed("The engine's process ended by signal SIGSEGV."))
        (ended,) = await queue.until_ended()
        assert not ended.body.success
        assert "SIGSEGV" in ended.body.error
        queue.put(2)
        engine.step(20)
        assert (await queue.until_ended(2))[1].body.success


async def test_the_same_worker_tries_again(tmp_path: Path) -> None:
    """The job's grant is for what it costs once; an attempt that was cut takes nothing of it."""
    engine = fake_engine(stepped=True)
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), Workshop([engine])):
        once = token(grant(cap=Cap(open=600)))
        first = queue.put(grant_token=once)
        engine.step(3)
        await queue.until(lambda: queue.text_of(first))
        await engine.crash(EngineCrashed("The engine's process ended by signal SIGSEGV."))
        (ended,) = await queue.until_ended()
        assert "SIGSEGV" in ended.body.error
        queue.put(2, grant_token=once, job=first, segment=1)
        engine.step(20)
        again = (await queue.until_ended(2))[1].body
        assert again.success, again.error


async def test_a_result_that_the_tracker_does_not_take(tmp_path: Path) -> None:
    """The job is given back with the reason, so that it does not wait for its lease to end."""
    async with running_queue() as queue:

        def once() -> web.Response:
            del queue.answers["complete"]
            return refusing(413, "too large")()

        queue.answers["complete"] = once
        async with running_worker(worker_settings(tmp_path / "n", queue)) as worker:
            job = queue.put()
            (ended,) = await queue.until_ended()
            assert (ended.job_id, ended.body.success, ended.body.attempt) == (job, False, 1)
            assert "too large" in ended.body.error
            await worker.parts.bench.wait_idle(10)
            assert {name: each.jobs for name, each in (await worker.parts.outbox.totals()).items()} == {
                "refused": 1,
                "queued": 1,
            }


@pytest.mark.parametrize("status", [302, 404])
async def test_a_page_from_somebody_between(tmp_path: Path, status: int) -> None:
    """It is no word of the tracker's: the result is kept, and delivered when the tracker answers itself."""
    async with running_queue() as queue:

        def page() -> web.Response:
            del queue.answers["complete"]
            return web.Response(status=status, text="<html>Sign in</html>", content_type="text/html")

        queue.answers["complete"] = page
        async with running_worker(worker_settings(tmp_path / "n", queue)) as worker:
            job = queue.put()
            (ended,) = await queue.until_ended()
            assert (ended.job_id, ended.body.success) == (job, True)
            await worker.parts.bench.wait_idle(10)


async def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The result is delivered from memory; no new job is taken until the disk takes something again."""
    import sqlite3

    from gpunode_node.pull import completions

    monkeypatch.setattr(completions, "RETRY_S", 0.02)
    is_full, run = asyncio.Event(), SqliteThread.run

    async def full(self: SqliteThread, work: object) -> object:
        if is_full.is_set() and self._path.name == "completions.db":
            raise sqlite3.OperationalError("database or disk is full")
        return await run(self, work)  # type: ignore[arg-type]  # -- passed on

    monkeypatch.setattr(SqliteThread, "run", full)
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        await queue.until(lambda: queue.polls)
        is_full.set()
        queue.answers["complete"] = refusing(503)
        first = queue.put()
        await _until(lambda: worker.parts.outbox.problem)
        assert "full" in worker.parts.outbox.problem
        await queue.until(lambda: queue.aborted_polls)
        queue.put(2)
        del queue.answers["complete"]
        (ended,) = await queue.until_ended()
        assert ended.job_id == first
        assert len(queue.waiting) == 1
        is_full.clear()
        assert (await queue.until_ended(2))[1].body.success
        assert worker.parts.outbox.problem == ""


async def test_a_tracker_that_wants_to_be_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retry-After is waited for, at the next job as at the end of one."""
    from gpunode_node.pull import taker

    slept: list[float] = []
    sleep = asyncio.sleep

    async def noted(delay: float) -> None:
        slept.append(delay)
        await sleep(0)

    monkeypatch.setattr(taker.asyncio, "sleep", noted)
    async with running_queue() as queue:
        queue.answers["next-job"] = refusing(429, "too many", Retry_After="60")
        async with running_worker(worker_settings(tmp_path / "n", queue)):
            await queue.until(lambda: queue.polls >= 3)
            assert 60 in slept


async def _until(condition: object) -> None:
    """Wait for what no word of the worker tells."""
    async with asyncio.timeout(20):
        while not condition():  # type: ignore[operator]  # noqa: ASYNC110 -- nothing tells of it
            await asyncio.sleep(0.01)
