"""Which worker asks."""

from typing import Any

from gpunode_protocol import admin_api, jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage.tables import bans, workers
from sqlalchemy import insert, select

from tests.tracker.audit_log import entries
from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker

KEY = Identity.from_seed(b"w" * 32)


async def _problem(world: World, body: dict[str, Any], status: int = 422, **headers: str) -> api.Problem:
    response = await world.http.post(jobs_api.WORKER_REGISTER_PATH, json=body, headers=headers)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.status) == (status, status), problem
    return problem


async def test_a_key_that_was_shut_out(world: World) -> None:
    """By the operator's command for nodes, or by a ban: it cannot register, nor use its token."""
    worker = await pull_worker(world, identity=KEY)
    await world.admin.revoke_node(KEY.peer_id)
    body = {"supported_types": ["llm"], "region": "asia"}
    envelope = (await world.registration(KEY)).model_dump(mode="json")
    assert (await _problem(world, body | {"registration": envelope}, 403)).code == "forbidden"
    await world.tracker.workers.sync.read()
    assert (await worker.get(jobs_api.NEXT_JOB_PATH)).status == 403


async def test_a_token_is_for_its_own_worker(world: World) -> None:
    """Another worker's path is forbidden; no token, a wrong one and a node's are not known."""
    one, other = await pull_worker(world), await pull_worker(world)
    stolen = PullWorker(world, other.id, one.token)
    for path in (jobs_api.NEXT_JOB_PATH, jobs_api.WORKER_HEARTBEAT_PATH, jobs_api.WORKER_TOKEN_PATH):
        send = stolen.get(path) if path == jobs_api.NEXT_JOB_PATH else stolen.post(path, {"status": "online"})
        response = await send
        assert (response.status, "another worker" in await response.text()) == (403, True)
    node = await world.register(Identity.generate())
    for token in ("", "gpw_wrong", node.token):
        assert (await PullWorker(world, one.id, token).get(jobs_api.NEXT_JOB_PATH)).status == 401
    assert (await world.get(api.NODE_BALANCE_PATH.format(peer="x"), token=one.token)).status == 403  # not its key's


async def test_rotation(world: World, clock: TestClock) -> None:
    """A new token; the one before works for 60 s, rotates nothing any more, and then ends."""
    worker = await pull_worker(world)
    response = await worker.post(jobs_api.WORKER_TOKEN_PATH, {})
    credentials = jobs_api.WorkerCredentials.model_validate_json(await response.text())
    assert credentials.worker_id == worker.id
    renewed = PullWorker(world, worker.id, credentials.token)
    clock.advance(59)
    for each in (worker, renewed):
        await each.heartbeat()
    assert (await worker.post(jobs_api.WORKER_TOKEN_PATH, {})).status == 403
    clock.advance(1)
    response = await worker.get(jobs_api.NEXT_JOB_PATH)
    assert (response.status, "not valid (any more)" in await response.text()) == (401, True)
    await renewed.heartbeat()


async def test_a_rotation_at_another_replica(world: World, clock: TestClock) -> None:
    """Is known here before the 60 s are over, though the old token was known to be valid."""
    worker = await pull_worker(world)
    await worker.heartbeat()
    await world.tracker.workers.sync.flush()
    new, _ = await world.tracker.workers.registrar.rotate(worker.id, (await _hash_of(world)), now=world.tracker.now)
    await worker.heartbeat()
    await world.tracker.workers.sync.read()
    await worker.heartbeat()
    clock.advance(60)
    assert (await worker.get(jobs_api.NEXT_JOB_PATH)).status == 401
    await PullWorker(world, worker.id, new).heartbeat()


async def _hash_of(world: World) -> bytes:
    async with world.tracker.database.read() as connection:
        found: bytes = (await connection.execute(select(workers.c.auth_token_hash))).scalar_one()
    return found


async def test_a_ban(world: World) -> None:
    """Counts with the next reading, and says why."""
    worker = await pull_worker(world)
    await worker.heartbeat()
    row = {"kind": "worker", "subject": worker.id, "reason": "wrong answers", "created_at": START_AT}
    async with world.tracker.database.write() as connection:
        await connection.execute(insert(bans).values(**row))
    await world.tracker.workers.sync.read()
    response = await worker.get(jobs_api.NEXT_JOB_PATH)
    assert (response.status, "wrong answers" in await response.text()) == (403, True)


async def test_a_ban_by_rest_counts_at_once(world: World, clock: TestClock) -> None:
    """Of the worker or of its key: no job, no heartbeat; afterwards it goes on by itself."""
    root = await world.key(Scope.ADMIN)
    worker, keyed = await pull_worker(world), await pull_worker(world, identity=KEY)
    for kind, subject in (("worker", worker.id), ("node", KEY.peer_id)):
        order = {"kind": kind, "subject": subject, "reason": "spam", "until": START_AT + 60}
        await world.made(
            admin_api.BanView, admin_api.ADMIN_BANS_PATH, admin_api.BanOrder.model_validate(order), key=root
        )
    for banned in (worker, keyed):
        refused = await world.problem(await banned.get(jobs_api.NEXT_JOB_PATH))
        assert (refused.status, refused.code) == (403, "banned")
        assert "spam" in refused.detail
    clock.advance(60)
    await world.tracker.workers.sync.read()  # as it is every few seconds
    assert (await worker.get(jobs_api.NEXT_JOB_PATH)).status == 200


async def test_what_workers_do_is_noted(world: World) -> None:
    """They register, rotate their tokens, pause and leave; no token is among it."""
    worker = await pull_worker(world)
    path = jobs_api.WORKER_MAINTENANCE_PATH.format(worker=worker.id)
    body = jobs_api.MaintenanceRequest(enabled=True)
    assert (await world.post(path, body, token=worker.token)).status == 200
    rotated = await world.http.post(
        jobs_api.WORKER_TOKEN_PATH.format(worker=worker.id), headers={"X-Worker-Token": worker.token}
    )
    token = (await rotated.json())["token"]
    assert (await world.delete(jobs_api.WORKER_PATH.format(worker=worker.id), token=token)).status == 204
    noted = await entries(world.tracker.database, subject=f"worker:{worker.id}")
    assert [(entry.action, entry.detail) for entry in noted] == [
        ("worker_registered", {}),
        ("worker_maintenance", {"enabled": True}),
        ("worker_token_rotated", {}),
        ("worker_deregistered", {}),
    ]
    assert {(entry.actor, entry.address) for entry in noted} == {(f"worker:{worker.id}", "127.0.0.1")}
    assert not any(secret in str(entry) for entry in noted for secret in (worker.token, token))
