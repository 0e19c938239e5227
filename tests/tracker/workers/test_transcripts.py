"""Workers with a key prove their answers, and are paid."""

import asyncio

import pytest
from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_protocol.errors import GpunodeError, VerificationFailed
from gpunode_protocol.framing import frame
from gpunode_protocol.identity import Identity
from gpunode_protocol.jobs_api import NextJob
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task
from gpunode_tracker.jobs.job import JobStatus, StoredJob
from gpunode_tracker.storage.attempts import failures_of
from gpunode_tracker.workers.transcripts import read_transcript

from tests.tracker.conftest import World
from tests.tracker.parties import MODEL, TestClock
from tests.tracker.pull_workers import ANSWER, Answering, PullWorker, pull_worker, stored_job, submit

KEY = Identity.from_seed(b"w" * 32)
PAID = 5 * 10 + 2 * 30
"""Five prompt tokens and two of output, at the default prices."""


class Deal:
    """A job that a worker with a key holds."""

    def __init__(self, world: World, owner: str, worker: PullWorker, given: NextJob) -> None:
        self.world, self.owner, self.worker, self.given = world, owner, worker, given

    @property
    def job_id(self) -> str:
        """Its id."""
        assert self.given.job_id is not None
        return self.given.job_id

    async def complete(self, transcript: bytes) -> jobs_api.CompletionReply:
        """Complete it with a transcript that must be taken."""
        return await self.worker.complete(self.job_id, success=True, transcript=transcript, processing_time=0.5)

    async def refused(self, transcript: bytes) -> api.Problem:
        """Complete it with one that must be refused."""
        response = await self.worker.try_to_complete(self.job_id, success=True, transcript=transcript)
        problem = api.Problem.model_validate_json(await response.text())
        assert (response.status, problem.code) == (422, "transcript_refused"), problem
        return problem

    async def stored(self) -> StoredJob:
        """As the database has it."""
        return await stored_job(self.world, self.job_id)

    async def request(self) -> Signed[JobRequest]:
        """The signed request, as the tracker kept it."""
        request = self.world.tracker.desk.request_of(await self.stored())
        assert request is not None
        return request


@pytest.fixture
async def deal(world: World) -> Deal:
    """The deal."""
    owner = (await world.account())[0]
    worker = await pull_worker(world, identity=KEY)
    await submit(world, owner)
    return Deal(world, owner, worker, await worker.next_job())


async def test_the_signed_request(deal: Deal, clock: TestClock) -> None:
    """It names client, node, model and deadline, and a grant for just this job and node."""
    assert deal.given.request is not None
    answering = Answering(deal.world, KEY, deal.given.request)
    request, grant, tracker = answering.request.body, answering.grant, deal.world.tracker
    assert (request.client, request.node) == (tracker.dispatch.peer_id, KEY.peer_id)
    assert (request.job, request.segment, request.task, request.model) == (deal.job_id, 0, Task.LLM, MODEL)
    assert (request.issued_at, request.deadline_at) == (int(clock()), int(clock()) + 900)
    job = await deal.stored()
    assert (grant.jti, grant.cnf.peer, grant.tasks, grant.exp - grant.iat) == (
        job.jti,
        tracker.dispatch.peer_id,
        ("llm",),
        3_600,
    )
    assert list(grant.cap.nodes or {}) == [KEY.peer_id]
    assert (await deal.request()).body == request


async def test_a_proven_answer_is_paid(deal: Deal) -> None:
    """The result is what the frames say, the receipt is in the ledger, and the rest of the reservation goes back."""
    world = deal.world
    reply = await deal.complete(deal.worker.answer(deal.given, "Hello there"))
    assert reply == jobs_api.CompletionReply(job_id=deal.job_id, status="completed", paid_microcredits=PAID)
    job = await deal.stored()
    assert (job.status, job.node, job.worker_id) == (JobStatus.COMPLETED, KEY.peer_id, deal.worker.id)
    assert world.tracker.desk.result_of(job) == {
        "response": "Hello there",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2},
    }
    node = await world.register(KEY)
    assert (await world.balance(token=node.token)).spendable_microcredits == PAID
    key = await world.admin.create_key(deal.owner)
    balance = await world.balance(key=key)
    assert (balance.spendable_microcredits, balance.reserved_microcredits) == (100_000_000 - PAID, 0)
    await world.tracker.sequence()
    assert job.receipt_digest is not None
    receipt = await world.get(api.RECEIPT_PATH.format(receipt=job.receipt_digest.hex()), key=key)
    assert receipt.status == 200, await receipt.text()


async def test_completing_twice(deal: Deal) -> None:
    """Is answered alike and paid once."""
    transcript = deal.worker.answer(deal.given)
    replies = await asyncio.gather(*(deal.complete(transcript) for _ in range(3)))
    assert {reply.paid_microcredits for reply in replies} == {PAID}
    node = await deal.world.register(KEY)
    assert (await deal.world.balance(token=node.token)).spendable_microcredits == PAID


async def test_plain_answers_are_not_taken_from_a_worker_with_a_key(deal: Deal) -> None:
    """It is asked for its proof, and may still send it."""
    response = await deal.worker.try_to_complete(deal.job_id, success=True, result=ANSWER)
    assert (response.status, "transcript" in await response.text()) == (422, True)
    assert (await deal.complete(deal.worker.answer(deal.given))).paid_microcredits == PAID


async def test_a_transcript_that_does_not_verify(deal: Deal) -> None:
    """The attempt has failed with the reason; it is counted; nothing is paid; another worker gets the job."""
    genuine = deal.worker.answer(deal.given)
    problem = await deal.refused(genuine.replace(b"Hi!", b"Ho!"))
    assert "output" in problem.detail
    job = await deal.stored()
    assert job.status is JobStatus.QUEUED
    async with deal.world.tracker.database.read() as connection:
        assert await failures_of(connection, deal.job_id) == [problem.detail]
    live = deal.world.tracker.workers.presence.find(deal.worker.id)
    assert live is not None
    assert (live.stored.statistics.success_rate, live.stored.statistics.total_jobs) == (0.95, 1)
    response = await deal.worker.try_to_complete(deal.job_id, success=True, transcript=genuine)
    assert response.status == 409
    other = await pull_worker(deal.world)
    assert (await other.next_job()).job_id == deal.job_id
    assert (await other.complete(deal.job_id)).paid_microcredits == 0


async def test_another_keys_answer(deal: Deal) -> None:
    """A receipt by another key than the request names is none."""
    thief = PullWorker(deal.world, deal.worker.id, deal.worker.token, Identity.generate())
    assert "receipt" in (await deal.refused(thief.answer(deal.given))).detail


@pytest.mark.parametrize(
    "broken",
    [b"", b"\x00", b"\xff" * 8, frame(b"\x80"), frame(b"\xc1" * 9), bytes(100_000)],
    ids=["empty", "cut", "too long", "no type", "no msgpack", "zeros"],
)
async def test_transcripts_that_are_none(deal: Deal, broken: bytes) -> None:
    """Whatever is sent, the answer says that it proves nothing."""
    await deal.refused(broken)


async def test_a_transcript_that_is_cut(deal: Deal) -> None:
    """Without its last frame it has no receipt."""
    assert "ended before" in (await deal.refused(deal.worker.answer(deal.given)[:-1])).detail


async def test_more_than_was_asked_for(deal: Deal) -> None:
    """A quote beyond what the prompt can have is refused."""
    transcript = deal.worker.answer(deal.given, prompt_tokens=100_000)
    assert "prompt" in (await deal.refused(transcript)).detail


async def test_a_worker_that_cancels_by_itself(deal: Deal) -> None:
    """Nobody asked it to: that is no answer."""
    with pytest.raises(VerificationFailed, match="cancelled"):
        read_transcript(
            deal.world.tracker.dispatch,
            await deal.request(),
            (await deal.stored()).jti or "",
            deal.worker.answer(deal.given, finish_reason="cancelled"),
        )


async def test_nothing_can_be_had_from_another_jobs_transcript(deal: Deal) -> None:
    """A receipt is for its own job only."""
    other = await submit(deal.world, deal.owner)
    given = await deal.worker.next_job()
    assert given.job_id == other
    with pytest.raises(GpunodeError):
        read_transcript(
            deal.world.tracker.dispatch,
            await deal.request(),
            (await deal.stored()).jti or "",
            deal.worker.answer(given),
        )


async def test_the_second_attempt_is_another_segment(deal: Deal, clock: TestClock) -> None:
    """The ledger tells them apart; the request is signed anew."""
    await deal.worker.complete(deal.job_id, success=False, error="no")
    clock.advance(61)
    given = await deal.worker.next_job()
    assert given.attempt == 2
    assert given.request is not None
    assert Answering(deal.world, KEY, given.request).request.body.segment == 1
    reply = await deal.worker.complete(deal.job_id, success=True, transcript=deal.worker.answer(given))
    assert reply.paid_microcredits == PAID


async def test_the_model_of_a_job_that_names_none(world: World) -> None:
    """The network's default if the worker serves it, else the first that it serves."""
    owner = (await world.account())[0]
    for models, expected in (([], MODEL), (["other", MODEL], MODEL), (["first", "second"], "first")):
        worker = await pull_worker(world, identity=Identity.generate(), models=models)
        await submit(world, owner)
        given = await worker.next_job()
        assert given.request is not None
        assert worker.identity is not None
        assert Answering(world, worker.identity, given.request).request.body.model == expected
