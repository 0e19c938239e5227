"""A real tracker, real pull workers and the real small model, without any mesh: jobs come and go by plain HTTP."""

import json
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from gpunode_node.control_client import ask_daemon
from gpunode_node.node_folder import NodeFolder
from gpunode_node.pull.worker_file import WorkerFile
from gpunode_protocol.identity import public_key_of
from gpunode_protocol.jobs_api import LEASE_S
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.signing import open_signed
from gpunode_protocol.vouchers import UNVOUCHED_LIMIT_TOKENS
from gpunode_tracker.workers.unheld import NOT_HELD

from tests.acceptance.job_queue import JobQueue, worker_status
from tests.acceptance.network import MODEL
from tests.acceptance.processes import Daemon, run_gpunode, wait_until
from tests.acceptance.queued_work import MODELS, every_kind

pytestmark = pytest.mark.acceptance

QUESTION = "What is the capital of France?"
STORY = "Tell me a long story about a fox."


@pytest.fixture(scope="module")
def queue() -> Iterator[JobQueue]:
    """Return a tracker with an account, for this file."""
    folder = Path(tempfile.mkdtemp(prefix="gpq-"))
    queue = JobQueue(folder)
    try:
        queue.start()
        yield queue
    finally:
        queue.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def worker(queue: JobQueue) -> Daemon:
    """Return a pull worker with a model for every kind of work that is ready."""
    daemon = queue.add_worker("w1", *(part for model in MODELS for part in ("--model", model)))
    daemon.wait_ready()
    return daemon


def test_a_job_from_submission_to_payment(queue: JobQueue, worker: Daemon) -> None:
    """Tokens by server-sent events, the result, a receipt that the worker signed and the ledger has, and credits."""
    before = queue.balance_microcredits()
    job_id = queue.submit(QUESTION, max_tokens=32)
    with queue.events(job_id) as events:
        told = list(events)
    names = [name for name, _ in told]
    assert (names[0] in {"queued", "running"}, names[-1], told[-1][1]["status"]) == (True, "done", "completed")
    job = queue.job(job_id)
    assert "Paris" in job["result"]["response"]
    assert "".join(data["text"] for name, data in told if name == "tokens") == job["result"]["response"]
    assert (job["served_by"], job["attempts"]) == (f"worker:{worker.run['worker_id']}", 1)
    proof = ReceiptProof.model_validate_json(json.dumps(queue.proof_of(job["receipt"])))
    assert proof.receipt is not None
    receipt = open_signed(Receipt, proof.receipt, public_key_of(worker.run["peer_id"])).body
    assert (receipt.job, receipt.model, receipt.node) == (job_id, MODEL, worker.run["peer_id"])
    assert receipt.usage.output_tokens == job["result"]["usage"]["completion_tokens"]
    paid = before - wait_until(lambda: _settled(queue, before), "the job is paid")
    control = NodeFolder(worker.data_dir).control
    earned = wait_until(lambda: ask_daemon(control, "earnings")["paid_microcredits"], "the worker knows of its pay")
    assert paid == earned > 0
    secrets = {QUESTION, job["result"]["response"], queue.api_key, _token_of(worker)}
    assert [each for each in secrets for daemon in (queue.tracker, worker) if each in daemon.log()] == []


def _token_of(worker: Daemon) -> str:
    """Return the worker's token."""
    known = WorkerFile(NodeFolder(worker.data_dir).pull).load()
    assert known is not None
    return known.token


def _settled(queue: JobQueue, before: int) -> int | None:
    """Return the balance once it has changed."""
    now = queue.balance_microcredits()
    return now if now != before else None


def test_every_other_kind_of_work(queue: JobQueue, worker: Daemon, tmp_path: Path) -> None:
    """All at once at one worker: a picture, vectors, a text, each with a receipt over what it bills."""
    works = every_kind(tmp_path)
    job_ids = [queue.submit_any(work.submission) for work in works]
    for work, job_id in zip(works, job_ids, strict=True):
        job = queue.wait_for(job_id, "completed")
        work.check(job["result"])
        assert (job["served_by"], job["attempts"]) == (f"worker:{worker.run['worker_id']}", 1)
        proof = ReceiptProof.model_validate_json(json.dumps(queue.proof_of(job["receipt"])))
        assert proof.receipt is not None
        receipt = open_signed(Receipt, proof.receipt, public_key_of(worker.run["peer_id"])).body
        assert (receipt.job, receipt.task, receipt.model) == (job_id, work.type, work.model)
        billed = getattr(receipt.usage, "input_tokens" if work.units == "prompt_tokens" else work.units)
        assert 0 < billed == job["result"]["usage"][work.units]


@pytest.mark.parametrize(
    ("kind", "model", "params", "words"),
    [
        ("image_gen", "digits-diffusion", {"prompt": "a seven", "size": "4096x4096"}, "cannot draw 4096x4096"),
        ("image_gen", "digits-diffusion", {"prompt": "a seven " * 100}, "this model reads 16"),
        ("whisper", "whisper-tiny.en", {"audio": "dGhpcyBpcyB0ZXh0"}, "cannot be read as audio"),
        ("embedding", "all-minilm-l6-v2", {"input": ["a", "word " * 400]}, "256"),
    ],
)
@pytest.mark.usefixtures("worker")
def test_what_no_engine_can_do(queue: JobQueue, kind: str, model: str, params: dict[str, str], words: str) -> None:
    """Fails at the first attempt, with the engine's words, and costs nothing."""
    job_id = queue.submit_any({"type": kind, "model": model, "params": params})
    job = queue.wait_for(job_id, "failed")
    assert (job["attempts"], words in job["error"]) == (1, True), job["error"]
    assert not {"result", "receipt"} & job.keys()


@pytest.mark.full
@pytest.mark.usefixtures("worker")
def test_far_more_tokens_than_are_vouched_for_in_the_mesh(queue: JobQueue) -> None:
    """Nothing pauses for vouchers that do not come."""
    job_id = queue.submit(STORY, max_tokens=160)
    job = queue.wait_for(job_id, "completed", 90)
    assert job["result"]["usage"]["completion_tokens"] > UNVOUCHED_LIMIT_TOKENS


def test_status_and_processes(queue: JobQueue, worker: Daemon) -> None:
    """The worker runs no p2pd, has no problems, and says how it works."""
    shown = run_gpunode("status", "--data-dir", str(worker.data_dir), home=queue.folder)
    assert "pull: jobs come from the tracker's queue" in shown.stdout
    assert worker_status(worker)["problems"] == []
    assert not [child for child in worker.family() if "p2pd" in child.name()]


@pytest.mark.full
def test_a_cancelled_job(queue: JobQueue, worker: Daemon) -> None:
    """The engine stops, and the slot is free for the next one."""
    job_id = queue.submit(STORY, max_tokens=2_000)
    with queue.events(job_id) as events:
        next(data for name, data in events if name == "tokens")
    queue.call("DELETE", f"/api/v1/jobs/{job_id}")
    assert queue.job(job_id)["status"] == "cancelled"
    wait_until(lambda: not worker_status(worker)["models"][0]["active"], "the engine is free")
    assert queue.wait_for(queue.submit(QUESTION, max_tokens=8), "completed")


@pytest.mark.full
@pytest.mark.timeout(4 * LEASE_S)
def test_a_worker_that_is_killed_in_the_middle(queue: JobQueue, worker: Daemon) -> None:
    """When its lease is over another one does the job, from its beginning; the job tells of both attempts."""
    doomed = queue.add_worker("doomed", "--slots", "1")
    with _killed_in_the_middle(queue, doomed, beside=worker) as (job_id, events):
        _resume(worker)
        told = list(events)
    assert (told[-1][0], told[-1][1]["status"]) == ("done", "completed")
    job = queue.wait_for(job_id, "completed", LEASE_S)
    assert (job["attempts"], job["served_by"]) == (2, f"worker:{worker.run['worker_id']}")
    assert len(job["failures"]) == 1


@pytest.mark.full
def test_a_killed_worker_that_is_started_anew(queue: JobQueue, worker: Daemon) -> None:
    """It says that it has not got the job any more, and does it again itself, where there is nobody else."""
    alone = queue.add_worker("alone", "--slots", "1")
    with _killed_in_the_middle(queue, alone, beside=worker) as (job_id, events):
        alone.start()
        told = list(events)
    assert (told[-1][0], told[-1][1]["status"]) == ("done", "completed")
    job = queue.job(job_id)
    assert (job["attempts"], job["served_by"]) == (2, f"worker:{alone.wait_ready()['worker_id']}")
    assert job["failures"] == [NOT_HELD]
    assert alone.terminate() == 0
    _resume(worker)


@pytest.mark.full
def test_a_drain(queue: JobQueue, worker: Daemon) -> None:
    """A worker that is told to stop finishes its job, says goodbye and ends with code 0; the last test of this file."""
    worker_id = worker.run["worker_id"]
    job_id = queue.submit(STORY, max_tokens=60)
    with queue.events(job_id) as events:
        next(data for name, data in events if name == "tokens")
    assert worker.terminate() == 0
    assert queue.job(job_id)["status"] == "completed"
    assert queue.call("GET", f"/api/v1/workers/{worker_id}")["status"] == "offline"


@contextmanager
def _killed_in_the_middle(
    queue: JobQueue, doomed: Daemon, *, beside: Daemon
) -> Iterator[tuple[str, Iterator[tuple[str, Any]]]]:
    """Kill a new worker and its engines in the middle of a job, while the one beside it is paused.

    Yields the job and the events that follow.
    """
    doomed.wait_ready()
    _pause(beside)
    job_id = queue.submit(STORY, max_tokens=200)
    with queue.events(job_id) as events:
        next(data for name, data in events if name == "tokens")
        engines = doomed.family()
        doomed.process.send_signal(signal.SIGKILL)
        doomed.process.wait()
        psutil.wait_procs(engines, timeout=20)
        yield job_id, events


def _pause(worker: Daemon) -> None:
    ask_daemon(NodeFolder(worker.data_dir).control, "pause")
    wait_until(lambda: worker_status(worker)["pause"]["state"] == "paused", "the worker pauses")


def _resume(worker: Daemon) -> None:
    ask_daemon(NodeFolder(worker.data_dir).control, "resume")
