"""The running pull worker: whole jobs and its ends; ``test_faults`` has what goes wrong."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from gpunode_engines.base import Blob, Finished, Progress
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import DaemonNotRunning
from gpunode_node.node_folder import NodeFolder
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.pull.fake_queue import PAID, WORKER_ID, chat_of, running_queue
from tests.node.pull.running_worker import Workshop, fake_engine, running_worker, worker_settings
from tests.node.running_daemon import MACHINE
from tests.node.world import NODE


async def test_a_job_from_the_queue(tmp_path: Path) -> None:
    """It is pulled, done, told of on its way, and delivered with a transcript that verifies; the worker is paid."""
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        job_id = queue.put()
        (ended,) = await queue.until_ended()
        assert (ended.job_id, ended.body.success, ended.body.attempt) == (job_id, True, 1)
        assert ended.result["response"] == queue.text_of(job_id) == "Paris."
        assert ended.proof is not None
        assert ended.proof.receipt.body.node == NODE.peer_id
        await worker.parts.bench.wait_idle(10)
        totals = await worker.parts.outbox.totals()
        assert (totals["completed"].jobs, totals["completed"].paid_microcredits) == (1, PAID)
        assert worker.parts.outbox.waiting == ()
        assert worker.parts.registry.unfinished == []


async def test_far_more_tokens_than_a_mesh_job_may_have_unvouched(tmp_path: Path) -> None:
    """Nobody vouches on the way, and nothing waits for that."""
    workshop = Workshop(answer="x" * 1_000)
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), workshop):
        queue.put(params=chat_of(max_tokens=1_000))
        (ended,) = await queue.until_ended()
        assert ended.result["usage"]["completion_tokens"] == 1_000


async def test_registration(tmp_path: Path) -> None:
    """It says what the worker has and serves, with the proof of its key; the file with the token is private."""
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, country="DE", name="box")
        async with running_worker(settings) as worker:
            (body,) = queue.enlisted
            assert (body.name, body.region, body.country) == ("box", Region.EUROPE, "DE")
            assert (body.supported_types, body.models) == ((Task.LLM,), ("smollm2-135m",))
            total_gb = sum(gpu.memory_bytes for gpu in MACHINE.gpus) / 1e9
            assert (body.gpu_model, body.gpu_memory_gb) == ("GTX", pytest.approx(total_gb, abs=0.01))
            file = NodeFolder(tmp_path / "n").pull
            assert file.stat().st_mode & 0o777 == 0o600
            assert json.loads(file.read_text())["worker_id"] == worker.parts.link.worker_id == WORKER_ID
            await queue.until(lambda: queue.beats)
            beat = queue.beats[0]
            assert (beat.status, beat.supported_types, beat.models) == ("online", (Task.LLM,), ("smollm2-135m",))
            assert beat.gpu_info.memory_total == pytest.approx(total_gb, abs=0.01)


async def test_ready_and_drained(tmp_path: Path) -> None:
    """run.json and status while it is ready; at a signal the poll is left, the tracker told, and the code is 0."""
    workshop = Workshop()
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), workshop) as worker:
        run = json.loads((tmp_path / "n" / "run.json").read_text())
        assert run == {
            "pid": os.getpid(),
            "mode": "pull",
            "models": ["smollm2-135m"],
            "region": "europe",
            "peer_id": NODE.peer_id,
            "worker_id": WORKER_ID,
        }
        status = await asyncio.to_thread(ask_daemon, worker.control, "status")
        assert (status["mode"], status["worker_id"], status["problems"]) == ("pull", WORKER_ID, [])
        await queue.until(lambda: queue.polls)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await worker.running == 0
        await queue.until(lambda: queue.aborted_polls)
        assert queue.beats[-1].status == "offline"
        assert not workshop.engines[0].healthy
        assert not (tmp_path / "n" / "run.json").exists()
        with pytest.raises(DaemonNotRunning):
            ask_daemon(worker.control, "status")


async def test_a_drain_finishes_what_runs(tmp_path: Path) -> None:
    """No job is taken any more, the one that runs is delivered, and then the worker is off with nothing held."""
    engine = fake_engine(stepped=True)
    workshop = Workshop([engine])
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), workshop) as worker:
        first = queue.put()
        engine.step(2)
        await queue.until(lambda: queue.text_of(first) == "Pa")
        os.kill(os.getpid(), signal.SIGTERM)
        await queue.until(lambda: queue.beats[-1].status == "offline")
        assert queue.beats[-1].holding == {first: 1}
        queue.put()
        engine.step(10)
        assert await worker.running == 0
        assert [ended.job_id for ended in queue.ended] == [first]
        assert queue.ended[0].result["response"] == "Paris."
        assert (queue.beats[-1].status, queue.beats[-1].holding) == ("offline", {})


async def test_a_drain_has_a_limit(tmp_path: Path) -> None:
    """What is not done by then is given back to the queue with the reason."""
    engine = fake_engine(stepped=True)
    workshop = Workshop([engine])
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, drain_timeout_s=0.05)
        async with running_worker(settings, workshop) as worker:
            job_id = queue.put()
            engine.step(2)
            await queue.until(lambda: queue.text_of(job_id) == "Pa")
            os.kill(os.getpid(), signal.SIGTERM)
            assert await worker.running == 0
            assert not queue.ended[0].body.success
            assert "stops" in queue.ended[0].body.error


async def test_a_second_signal(tmp_path: Path) -> None:
    """It ends at once, with a failure's exit code, and leaves no engine behind."""
    engine = fake_engine(stepped=True)
    workshop = Workshop([engine])
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue), workshop) as worker:
        job_id = queue.put()
        engine.step(1)
        await queue.until(lambda: queue.text_of(job_id))
        os.kill(os.getpid(), signal.SIGINT)
        await queue.until(lambda: queue.beats[-1].status == "offline")
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        assert await worker.running == 1
        assert queue.ended == []
        assert not engine.healthy


async def test_as_many_jobs_at_once_as_there_are_slots(tmp_path: Path) -> None:
    """While all slots work nothing is asked for, and the tracker knows that the worker is busy."""
    engine = fake_engine(stepped=True, slots=2)
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, heartbeat_interval_s=1)
        async with running_worker(settings, Workshop([engine])):
            jobs = [queue.put() for _ in range(3)]
            await queue.until(lambda: any(len(beat.holding) == 2 for beat in queue.beats))
            assert (queue.beats[-1].status, set(queue.beats[-1].holding)) == ("busy", set(jobs[:2]))
            assert len(queue.waiting) == 1
            engine.step(30)
            ended = await queue.until_ended(3)
            assert {each.job_id for each in ended} == set(jobs)


async def test_only_models_with_a_free_slot_are_offered(tmp_path: Path) -> None:
    """While one model is busy the tracker is told of the other one alone, and of both afterwards."""
    names = ("smollm2-135m", "qwen2.5-7b-instruct")
    engines = [fake_engine(model=name, stepped=True, slots=1) for name in names]
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, model=names)
        async with running_worker(settings, Workshop(list(engines))):
            await queue.until(lambda: queue.beats)
            assert queue.beats[-1].models == names
            queue.put()
            await queue.until(lambda: queue.beats[-1].models == names[1:])
            engines[0].step(10)
            await queue.until(lambda: queue.beats[-1].models == names)
            await queue.until_ended()


async def test_a_job_with_a_file(tmp_path: Path) -> None:
    """The file from the parameters reaches the engine, and pictures come back; progress is told on the way."""
    picture = b"\x89PNG" + bytes(300_000)
    events = [
        Progress(step=1, total=2),
        Progress(step=2, total=2),
        Blob(index=0, media_type="image/png", data=picture, offset=0, total_bytes=len(picture)),
        Finished(reason="stop", prompt_tokens=0, output_tokens=0),
    ]
    engine = FakeMediaEngine(Task.IMAGE_GEN, events)
    params = {"prompt": "a fox", "image": _base64(picture), "width": 64, "height": 64, "steps": 2}
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, model=("digits-diffusion",))
        async with running_worker(settings, Workshop([engine])):
            job_id = queue.put(task=Task.IMAGE_GEN, params=params, model="digits-diffusion")
            (ended,) = await queue.until_ended()
            (asked,) = engine.asked
            assert _files(asked) == [picture]
            assert ended.body.success
            assert ended.result["images"][0]["data"] == _base64(picture)
            assert queue.events[job_id][-1].step == 2


async def test_another_file_than_the_signed_one(tmp_path: Path) -> None:
    """The signed request holds the file's digest: what differs is not worked on."""
    params = {"prompt": "a fox", "image": _base64(b"\x89PNG" + bytes(9)), "width": 64, "height": 64}
    engine = FakeMediaEngine(Task.IMAGE_GEN, [])
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue, model=("digits-diffusion",))
        async with running_worker(settings, Workshop([engine])):
            queue.put(task=Task.IMAGE_GEN, params=params, model="digits-diffusion")
            swapped = params | {"image": _base64(b"\x89PNG" + b"1" * 9)}
            given = queue.waiting[-1]
            assert not isinstance(given, bytes)
            given.job = given.job.model_copy(update={"params": swapped})
            (ended,) = await queue.until_ended()
            assert (ended.body.success, engine.asked) == (False, [])
            assert "Blob 0 is not one that the request names" in ended.body.error


async def test_pause_and_resume(tmp_path: Path) -> None:
    """A paused worker leaves its poll and is offline to the tracker; it takes jobs again afterwards."""
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        await queue.until(lambda: queue.polls)
        answer = await asyncio.to_thread(ask_daemon, worker.control, "pause")
        assert "gpunode resume" in answer["reasons"][0]
        await queue.until(lambda: queue.aborted_polls and queue.beats[-1].status == "offline")
        queue.put()
        await asyncio.to_thread(ask_daemon, worker.control, "resume")
        (ended,) = await queue.until_ended()
        assert ended.body.success


async def test_a_second_start_uses_the_token_of_the_first(tmp_path: Path) -> None:
    """It is registered anew all the same, for what it serves may have changed; the id stays the tracker's business."""
    async with running_queue() as queue:
        for _ in range(2):
            async with running_worker(worker_settings(tmp_path / "n", queue)) as worker:
                assert worker.parts.link.worker_id == WORKER_ID
        assert len(queue.enlisted) == 2


def _base64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def _files(asked: Any) -> list[bytes]:
    return [asked.image] if asked.image else []
