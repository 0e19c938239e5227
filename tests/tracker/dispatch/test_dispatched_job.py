"""One job from the queue to nodes and back to the desk."""

import asyncio
import base64
from typing import Any

import pytest
from gpunode_protocol.errors import ErrorCode, job_error
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.jobs_api import JobEventName
from gpunode_protocol.messages import NODE_FRAMES, SegmentFrame, TokensFrame, decode_frame
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch import dispatched_job
from gpunode_tracker.dispatch.verdicts import End
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.jobs.desk import JobDesk
from gpunode_tracker.jobs.job import JobStatus, Lease, StoredJob
from gpunode_tracker.jobs.news import Word
from gpunode_tracker.sealing import Sealer, new_key
from gpunode_tracker.storage.attempts import nodes_asked
from gpunode_tracker.storage.claim_statements import SHUN_S
from gpunode_tracker.storage.jobs import fail_attempt
from gpunode_tracker.storage.settlements import settlement_of_receipt
from gpunode_tracker.storage.tables import reports
from sqlalchemy import select

from tests.sdk.scripted_node import ScriptedNode
from tests.tracker.dispatch.mesh_world import ANSWER_COST, HELLO, MeshWorld
from tests.tracker.parties import TestClock


async def run(mesh: MeshWorld, job: StoredJob) -> End:
    """Take a job and see it to its end."""
    async with mesh.taken(job) as taken:
        return await taken.run()


def refusing(code: ErrorCode) -> list[Any]:
    """Return a node's next refusals."""
    return [job_error(code, "said the node")]


async def test_its_receipt_is_in_the_ledger(mesh: MeshWorld) -> None:
    """Co-signed by the node and the tracker's dispatch key; the job names it."""
    node = await mesh.add_node()
    job = await mesh.submit()
    assert await run(mesh, job) is End.COMPLETED
    done = await mesh.find(job)
    async with mesh.tracker.database.read() as connection:
        settlement = await settlement_of_receipt(connection, done.receipt_digest or b"")
    assert settlement is not None
    voucher = settlement.settled.voucher
    assert (voucher.node, voucher.client, voucher.jti) == (node.peer_id, mesh.tracker.dispatch.peer_id, job.jti)
    assert settlement.settled.paid == ANSWER_COST == await mesh.spent() == await mesh.earned()


async def test_an_answer_that_broke_off_goes_on_at_another_node(mesh: MeshWorld) -> None:
    """No token is lost or repeated; both nodes are paid for their part, whoever hands the voucher in."""
    first = await mesh.add_node(cut_after=2)
    second = await mesh.add_node(Region.AFRICA)
    job = await mesh.submit(client_region=Region.EUROPE)
    assert await run(mesh, job) is End.COMPLETED
    assert mesh.text(job) == "Paris is the capital."
    assert mesh.tracker.desk.result_of(await mesh.find(job))["usage"] == {"prompt_tokens": 7, "completion_tokens": 4}
    assert await mesh.earned([first]) == 30 * 2
    assert await mesh.earned([second]) == 30 * 2 + 10 * (7 + 2)
    assert (await mesh.spent(), await mesh.reserved(job)) == (ANSWER_COST + 10 * 2, 0)
    served_by = [data["served_by"] for name, data in mesh.told(job) if name == JobEventName.RUNNING]
    assert served_by == [None, f"node:{first.peer_id}", f"node:{second.peer_id}"]
    assert (await mesh.find(job)).node == second.peer_id


async def test_the_nearest_node_to_the_client_is_asked(mesh: MeshWorld) -> None:
    """Not the nearest to the tracker; a job of a region stays in it."""
    asia = await mesh.add_node(Region.ASIA, probe_s=0.05)
    europe = await mesh.add_node(Region.EUROPE)
    from_asia = await mesh.submit(client_region=Region.ASIA)
    pinned = await mesh.submit(client_region=Region.ASIA, region=Region.EUROPE)
    for job, node in ((from_asia, asia), (pinned, europe)):
        assert await run(mesh, job) is End.COMPLETED
        assert (await mesh.find(job)).node == node.peer_id


async def test_pictures(mesh: MeshWorld) -> None:
    """With their progress."""
    await mesh.add_node(task=Task.IMAGE_GEN, model="digits-diffusion", pictures=[b"\x89PNG seven"])
    job = await mesh.submit(type=Task.IMAGE_GEN, params={"prompt": "seven", "size": "32x32", "steps": 20})
    assert await run(mesh, job) is End.COMPLETED
    (picture,) = mesh.tracker.desk.result_of(await mesh.find(job))["images"]
    assert base64.b64decode(picture["data"]) == b"\x89PNG seven"
    steps = [data for name, data in mesh.told(job) if name == JobEventName.PROGRESS]
    assert steps == [{"step": 1, "total": 2}, {"step": 2, "total": 2}]


async def test_speech(mesh: MeshWorld) -> None:
    """The audio goes to the node, the text comes as it is decoded."""
    segments = [
        SegmentFrame(start_ms=0, end_ms=900, text=" Hello.", language="en"),
        SegmentFrame(start_ms=900, end_ms=2_000, text=" How are you?"),
    ]
    await mesh.add_node(task=Task.WHISPER, model="whisper-tiny.en", segments=segments)
    audio = base64.b64encode(b"RIFF" + bytes(300_000)).decode()
    job = await mesh.submit(type=Task.WHISPER, params={"audio": audio, "max_minutes": 1})
    assert await run(mesh, job) is End.COMPLETED
    assert mesh.tracker.desk.result_of(await mesh.find(job))["text"] == "Hello. How are you?"
    assert mesh.text(job) == " Hello. How are you?"
    assert await mesh.spent() == 2_000


@pytest.mark.parametrize(
    ("code", "end", "status", "attempt"),
    [
        (ErrorCode.INVALID_PARAMETERS, End.FAILED, JobStatus.FAILED, 1),
        (ErrorCode.CONTEXT_OVERFLOW, End.FAILED, JobStatus.FAILED, 1),
        (ErrorCode.INTERNAL, End.RETRIED, JobStatus.QUEUED, 1),
        (ErrorCode.BUSY, End.RETURNED, JobStatus.QUEUED, 0),
    ],
)
async def test_what_a_node_refuses(mesh: MeshWorld, code: ErrorCode, end: End, status: JobStatus, attempt: int) -> None:
    """What every node would refuse ends the job; a failure costs an attempt; a node without room costs nothing."""
    await mesh.add_node(refuse=refusing(code))
    job = await mesh.submit()
    assert await run(mesh, job) is end
    found = await mesh.find(job)
    assert (found.status, found.attempt) == (status, attempt)
    assert [("said the node" in reason) for reason in await mesh.failures(job)] == [True] * attempt
    assert mesh.told(job)[-1][0] == (JobEventName.DONE if status.is_final else JobEventName.QUEUED)
    assert await mesh.earned() == 0
    assert (await mesh.reserved(job) > 0) is not status.is_final


async def test_nobody_there_costs_no_attempt(mesh: MeshWorld) -> None:
    """The node has left since the job was taken."""
    node = await mesh.add_node()
    job = await mesh.submit()
    mesh.mesh.records.clear()
    mesh.tracker.index.remove(node.peer_id)
    assert await run(mesh, job) is End.RETURNED
    found = await mesh.find(job)
    assert (found.status, found.attempt, found.started_at) == (JobStatus.QUEUED, 0, None)


async def test_a_node_that_lies_is_reported_and_the_job_tried_again(mesh: MeshWorld) -> None:
    """For the account that submitted it; nothing is paid."""
    node = await mesh.add_node(overstate=3)
    job = await mesh.submit()
    assert await run(mesh, job) is End.RETRIED
    async with mesh.tracker.database.read() as connection:
        (report,) = (await connection.execute(select(reports))).all()
    assert (report.account_id, report.node, report.kind) == (mesh.account.id, node.peer_id, "bad_usage")
    assert await mesh.earned() == 0


async def test_a_part_that_came_is_paid_before_the_next_attempt(mesh: MeshWorld) -> None:
    """And the next attempt is covered all the same."""
    mesh.resume_for_s = 0.0
    await mesh.add_node(cut_after=2)
    job = await mesh.submit()
    before = await mesh.reserved(job)
    assert await run(mesh, job) is End.RETRIED
    assert await mesh.earned() == 60
    assert await mesh.reserved(job) == before - 60
    (reason,) = await mesh.failures(job)
    assert "broke off after 2 tokens" in reason
    mesh.tracker.clock.advance(61)  # type: ignore[attr-defined]  # -- the tests' clock
    mesh.nodes[0].cut_after = None
    assert await run(mesh, job) is End.COMPLETED
    assert (await mesh.find(job)).attempt == 2
    assert (await mesh.spent(), await mesh.earned(), await mesh.reserved(job)) == (60 + ANSWER_COST,) * 2 + (0,)


async def test_parameters_that_cannot_be_read_any_more(mesh: MeshWorld) -> None:
    """Nobody else could read them either."""
    await mesh.add_node()
    job = await mesh.submit()
    mesh.tracker.sealer = Sealer((new_key(),))
    assert await run(mesh, job) is End.FAILED
    assert "key" in (await mesh.find(job)).error  # type: ignore[operator]  # -- a failed job has one


async def test_a_cancelled_job_stops_at_its_node(mesh: MeshWorld) -> None:
    """Within a token; what was received is paid, the rest goes back."""
    node = await mesh.add_node(endless=True, token_s=0.01)
    job = await mesh.submit()
    async with mesh.taken(job) as taken:
        running = asyncio.create_task(taken.run())
        await mesh.until(job, lambda: bool(mesh.text(job)))
        await mesh.tracker.desk.cancel(job)
        assert await running is End.LOST
    assert node.cancelled.is_set()
    sent = sum(isinstance(frame, TokensFrame) for frame in _frames(node))
    assert 0 < sent < 100
    assert (await mesh.earned(), await mesh.reserved(job)) == (10 * 7 + 30 * sent, 0)
    assert (await mesh.find(job)).status is JobStatus.CANCELLED
    assert await mesh.spent() == await mesh.earned()


def _frames(node: ScriptedNode) -> list[object]:
    """Return the frames that a node sent in its last job."""
    parser = FrameParser()
    return [decode_frame(payload, NODE_FRAMES) for data in node.jobs[-1].frames for payload in parser.feed(data)]


async def test_a_job_that_was_given_to_somebody_else_is_left_to_them(mesh: MeshWorld) -> None:
    """What was done until then is paid; its reservation stays, and it is not ended twice."""
    await mesh.add_node(endless=True, token_s=0.01)
    job = await mesh.submit()
    async with mesh.taken(job) as taken:
        running = asyncio.create_task(taken.run())
        await mesh.until(job, lambda: bool(mesh.text(job)))
        lease = Lease(job_id=job.id, holder="dispatch:here", attempt=1)
        async with mesh.tracker.database.write() as connection:
            await fail_attempt(connection, lease, "silent", now=mesh.tracker.now)
        mesh.tracker.news.tell(Word(job.id, JobEventName.DONE))  # as a replica's renewal would find out
        assert await running is End.LOST
    assert (await mesh.find(job)).status is JobStatus.QUEUED
    assert await mesh.earned() > 0
    assert await mesh.reserved(job) > 0


async def test_a_job_that_is_stopped_goes_back_to_the_queue(mesh: MeshWorld) -> None:
    """The tracker stops; no attempt is counted, and the node is paid."""
    node = await mesh.add_node(endless=True, token_s=0.01)
    job = await mesh.submit()
    async with mesh.taken(job) as taken:
        running = asyncio.create_task(taken.run())
        await mesh.until(job, lambda: bool(mesh.text(job)))
        taken.stop()
        assert await running is End.RETURNED
    assert node.cancelled.is_set()
    found = await mesh.find(job)
    assert (found.status, found.attempt, found.node) == (JobStatus.QUEUED, 0, None)
    assert await mesh.earned() > 0
    node.endless = False
    assert await run(mesh, job) is End.COMPLETED
    assert (await mesh.find(job)).attempt == 1


async def test_an_answer_is_kept_while_the_database_is_away(mesh: MeshWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is offered again until it is taken."""
    monkeypatch.setattr(dispatched_job, "FIRST_PAUSE_S", 0.001)
    complete, refused = JobDesk.complete, 0

    async def away(*arguments: Any, **options: Any) -> StoredJob | None:
        nonlocal refused
        refused += 1
        if refused <= 3:
            raise StorageUnavailable
        return await complete(*arguments, **options)

    monkeypatch.setattr(JobDesk, "complete", away)
    await mesh.add_node()
    job = await mesh.submit()
    assert await run(mesh, job) is End.COMPLETED
    assert refused == 4
    assert await mesh.earned() == ANSWER_COST


async def test_calls_of_functions_that_cannot_be_read_are_tried_again(mesh: MeshWorld) -> None:
    """The node has the client's signature for them, and is paid."""
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    await mesh.add_node(words=("\x1e", "no JSON"), finish_reason="tool_calls")
    job = await mesh.submit(params={"messages": HELLO, "tools": tools})
    assert await run(mesh, job) is End.RETRIED
    assert "calls of functions" in (await mesh.failures(job))[0]
    assert await mesh.earned() == 10 * 7 + 30 * 2


async def test_the_next_attempt_is_another_nodes(mesh: MeshWorld, clock: TestClock) -> None:
    """However near the one is that failed, which would do it now; where there is nobody else, it may try again."""
    near = await mesh.add_node(Region.EUROPE, refuse=2 * refusing(ErrorCode.INTERNAL))
    job = await mesh.submit(client_region=Region.EUROPE)
    for _ in range(2):
        assert await run(mesh, job) is End.RETRIED
        clock.advance(SHUN_S + 1)
    far = await mesh.add_node(Region.OCEANIA)
    assert await run(mesh, job) is End.COMPLETED
    assert (await mesh.find(job)).node == far.peer_id
    async with mesh.tracker.database.read() as connection:
        assert await nodes_asked(connection, job.id, before=3) == {near.peer_id}
