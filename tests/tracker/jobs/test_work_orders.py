"""Signed requests of queued jobs, and the tokens that pay for them."""

import pytest
from gpunode_protocol.grants import grant_key_id, read_grant
from gpunode_protocol.identity import Identity
from gpunode_protocol.job_params import read_job_params
from gpunode_protocol.node_stream import RequestChecks, open_request
from gpunode_protocol.payloads import LlmParams, input_refs
from gpunode_protocol.tasks import Task
from gpunode_tracker.errors import Conflict
from gpunode_tracker.jobs.work_orders import REQUEST_LIFETIME_S, WorkOrders

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import COST, Queue

WORKER = Identity.from_seed(b"\x03" * 32)


@pytest.fixture
async def account(world: World) -> str:
    """An account with 100 credits."""
    account, _ = await world.account()
    return account


async def test_a_node_takes_the_request(queue: Queue, account: str) -> None:
    """It passes a node's own checks and says what the job asks for."""
    await queue.submit(account)
    job, lease = await queue.claim()
    tracker = queue.tracker
    request = await WorkOrders(tracker).sign(job, lease, WORKER.peer_id)
    checks = RequestChecks(
        network=tracker.keys.network, node=WORKER.peer_id, peer=tracker.dispatch.peer_id, now=tracker.now
    )
    body = open_request(request.envelope, checks).body
    assert (body.job, body.segment, body.deadline_at) == (job.id, 0, tracker.now + REQUEST_LIFETIME_S)
    assert (body.task, body.model) == (Task.LLM, tracker.settings.default_models[Task.LLM])
    params = body.read_params()
    assert isinstance(params, LlmParams)
    assert (params.messages[0].content, params.now) == ("Hello", tracker.now)


async def test_each_attempt_is_a_segment_with_a_salt_of_its_own(queue: Queue, account: str) -> None:
    """Vouchers of two attempts are never mixed up."""
    await queue.submit(account)
    bodies = []
    for holder in ("worker:a", "worker:b"):
        job, lease = await queue.claim(holder)
        bodies.append((await WorkOrders(queue.tracker).sign(job, lease, WORKER.peer_id, model="other")).body)
        await queue.tracker.desk.fail(lease, "gone")
    assert [body.segment for body in bodies] == [0, 1]
    assert bodies[0].salt != bodies[1].salt
    assert bodies[0].model == "other"


async def test_the_token_pays_one_worker_from_the_reservation(queue: Queue, account: str) -> None:
    """It names the worker and all that was reserved; an open one is for anybody."""
    tracker, job = queue.tracker, await queue.submit(account)
    keys = {key.kid: key.public_key for key in tracker.keys.keyset.body.keys}
    for node in (WORKER.peer_id, None):
        token = await WorkOrders(tracker).grant_token(job, node=node)
        public_key = keys[grant_key_id(token)]
        grant = read_grant(token, public_key=public_key, network=tracker.keys.network, now=tracker.now)
        assert (grant.jti, grant.cap_at_microcredits(WORKER.peer_id)) == (job.jti, COST)
        assert grant.cap_at_microcredits(tracker.dispatch.peer_id) == (0 if node else COST)


async def test_files_are_found_again_by_the_requests_salt(queue: Queue, account: str) -> None:
    """Who pulls the job makes the inputs from its parameters; their digests are the signed ones."""
    await queue.submit(account, type=Task.WHISPER, params={"audio": "c291bmQ="})
    job, lease = await queue.claim(task=Task.WHISPER)
    body = (await WorkOrders(queue.tracker).sign(job, lease, WORKER.peer_id)).body
    order = read_job_params(Task.WHISPER, queue.tracker.desk.params_of(job)).to_order(body.salt, 0)
    assert input_refs(order.params) == input_refs(body.read_params())
    assert order.inputs[0].data == b"sound"


async def test_a_lost_lease_gets_no_request(queue: Queue, account: str) -> None:
    """Nothing is kept for it."""
    await queue.submit(account)
    job, lease = await queue.claim()
    await queue.tracker.desk.fail(lease, "silent")
    with pytest.raises(Conflict):
        await WorkOrders(queue.tracker).sign(job, lease, WORKER.peer_id)
    assert (await queue.job(job.id)).request is None


async def test_an_ended_job_gets_no_token(queue: Queue, account: str) -> None:
    """What was reserved for it has gone back."""
    job = await queue.submit(account)
    await queue.tracker.desk.cancel(job)
    with pytest.raises(Conflict, match="gone back"):
        await WorkOrders(queue.tracker).grant_token(job)


async def test_what_was_signed_is_kept_sealed(queue: Queue, account: str) -> None:
    """For the completion, which is checked against it."""
    await queue.submit(account)
    job, lease = await queue.claim()
    orders = WorkOrders(queue.tracker)
    request = await orders.sign(job, lease, WORKER.peer_id)
    kept = await queue.job(job.id)
    assert request.envelope.body not in (kept.request or b"")
    assert (orders.read(kept), orders.read(job)) == (request, None)
