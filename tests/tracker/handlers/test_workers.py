"""Registration, heartbeats, the list and tokens of pull workers over HTTP."""

from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol import jobs_api
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import sign
from gpunode_tracker.geoip import GeoIp
from gpunode_tracker.limits import Limits
from gpunode_tracker.storage.tables import workers
from gpunode_tracker.workers.presence import SILENT_S
from sqlalchemy import select

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT, TestClock
from tests.tracker.pull_workers import PullWorker, pull_worker
from tests.tracker.small_mmdb import FRANCE, write_mmdb
from tests.tracker.workers.examples import worker_id

KEY = Identity.from_seed(b"w" * 32)


async def _problem(world: World, body: dict[str, Any], status: int = 422, **headers: str) -> api.Problem:
    response = await world.http.post(jobs_api.WORKER_REGISTER_PATH, json=body, headers=headers)
    problem = api.Problem.model_validate_json(await response.text())
    assert (response.status, problem.status) == (status, status), problem
    return problem


async def _view(worker: PullWorker, of: PullWorker | None = None, **headers: str) -> jobs_api.WorkerView:
    path = jobs_api.WORKER_PATH.format(worker=(of or worker).id)
    response = await worker.world.get(path, **(headers or {"token": worker.token}))
    assert response.status == 200, await response.text()
    return jobs_api.WorkerView.model_validate_json(await response.text())


async def _list(world: World, key: str, query: str = "") -> jobs_api.WorkersPage:
    response = await world.get(jobs_api.WORKERS_PATH + query, key=key)
    assert response.status == 200, await response.text()
    return jobs_api.WorkersPage.model_validate_json(await response.text())


async def test_registration(world: World) -> None:
    """An id and a token, shown once: the database has its hash only."""
    worker = await pull_worker(
        world, name="w", region="asia", country="JP", city="Tokyo", gpu_model="RTX 3080", gpu_memory_gb=10
    )
    assert worker.token.startswith("gpw_")
    view = await _view(worker)
    assert view == jobs_api.WorkerView(
        worker_id=worker.id,
        name="w",
        status="online",
        region=Region.ASIA,
        country="JP",
        city="Tokyo",
        gpu_model="RTX 3080",
        gpu_memory_gb=10.0,
        supported_types=("llm",),
        models=(),
        success_rate=1.0,
        total_jobs=0,
        maintenance=False,
        last_heartbeat=START_AT,
        registered_at=START_AT,
    )
    async with world.tracker.database.read() as connection:
        hashes = (await connection.execute(select(workers.c.auth_token_hash))).scalars().all()
    assert [len(each) for each in hashes] == [32]
    files = [path.read_bytes() for path in world.tracker.settings.data_dir.glob("tracker.db*")]
    assert not any(worker.token.encode() in data for data in files)


async def test_the_region_by_the_address(limited: World, tmp_path: Path) -> None:
    """GeoIP says region, country and coordinates; what the worker says itself goes before."""
    limited.tracker.geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", FRANCE))
    headers = {"X-Forwarded-For": "8.8.8.8"}
    for body, expected in (
        ({}, ("europe", "FR")),
        ({"region": "africa", "country": "ZA"}, ("africa", "ZA")),
    ):
        given = {"supported_types": ["llm"], **body}
        response = await limited.http.post(jobs_api.WORKER_REGISTER_PATH, json=given, headers=headers)
        credentials = jobs_api.WorkerCredentials.model_validate_json(await response.text())
        view = await _view(PullWorker(limited, credentials.worker_id, credentials.token))
        assert (view.region, view.country) == expected
        assert (view.latitude, view.longitude) == (49, 2)


async def test_a_worker_whose_place_is_not_known(world: World) -> None:
    """It is asked to say its region, and told which there are."""
    problem = await _problem(world, {"supported_types": ["llm"]})
    assert "Give a region" in problem.detail
    assert "oceania" in problem.detail


@pytest.mark.parametrize(
    "wrong",
    [
        {"supported_types": []},
        {"supported_types": ["poetry"]},
        {"supported_types": ["llm"] * 9},
        {"region": "atlantis"},
        {"name": "a\nb"},
        {"name": "x" * 101},
        {"gpu_memory_gb": -1},
        {"models": ["a b"]},
        {"models": ["m"] * 9},
    ],
)
async def test_registrations_that_cannot_be_used(world: World, wrong: dict[str, Any]) -> None:
    """The answer names the field."""
    problem = await _problem(world, {"region": "europe", "supported_types": ["llm"]} | wrong)
    assert next(iter(wrong)) in problem.detail


async def test_a_worker_with_a_key(world: World) -> None:
    """It proves that it has it; the region may stand in what it signed."""
    envelope = await world.registration(KEY, region=Region.AFRICA)
    body = {"supported_types": ["llm"], "registration": envelope.model_dump(mode="json")}
    response = await world.http.post(jobs_api.WORKER_REGISTER_PATH, json=body)
    assert response.status == 201
    credentials = jobs_api.WorkerCredentials.model_validate_json(await response.text())
    assert credentials.region is Region.AFRICA
    assert "used before" in (await _problem(world, body)).detail
    forged = sign(Identity.generate(), api.Registration(network=world.network, peer=KEY.peer_id, challenge=bytes(48)))
    wrong = {**body, "registration": forged.envelope.model_dump(mode="json")}
    assert (await _problem(world, wrong, 403)).code == "bad_signature"
    foreign = await world.registration(KEY, network="0" * 40)
    assert (
        "another network" in (await _problem(world, {**body, "registration": foreign.model_dump(mode="json")})).detail
    )


async def test_a_key_that_registers_again(world: World) -> None:
    """It is the same worker, with what is known of it; its token before ends at once."""
    first = await pull_worker(world, identity=KEY, name="first")
    second = await pull_worker(world, identity=KEY, name="second")
    assert second.id == first.id
    assert (await first.get(jobs_api.NEXT_JOB_PATH)).status == 401
    assert (await _view(second)).name == "second"
    assert len((await _list(world, (await world.account())[1])).workers) == 1


async def test_heartbeats(world: World, clock: TestClock) -> None:
    """The plan's body; what it says is shown, and its silence too."""
    worker = await pull_worker(world, supported_types=["llm", "image_gen"])
    reply = await worker.heartbeat(
        gpu_info={"memory_used": 4.5, "memory_total": 24}, supported_types=["llm", "image_gen"]
    )
    assert (reply.lost, reply.maintenance, reply.time) == ((), False, START_AT)
    _, key = await world.account()
    view = await _view(worker, key=key)
    assert (view.status, view.gpu_memory_gb, view.supported_types) == ("online", 24.0, ("llm", "image_gen"))
    await worker.heartbeat("busy", supported_types=["llm"])
    assert [(each.status, each.supported_types) for each in (await _list(world, key)).workers] == [("busy", ("llm",))]
    clock.advance(SILENT_S + 1)
    assert (await _view(worker, key=key)).status == "offline"


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "tired"},
        {"supported_types": []},
        {"gpu_info": {"memory_used": "much"}},
        {"holding": {f"job {number}": 1 for number in range(65)}},
    ],
)
async def test_heartbeats_that_cannot_be_used(world: World, wrong: dict[str, Any]) -> None:
    """The answer names the field."""
    worker = await pull_worker(world)
    response = await worker.post(jobs_api.WORKER_HEARTBEAT_PATH, {"status": "online"} | wrong)
    assert (response.status, next(iter(wrong)) in await response.text()) == (422, True)


async def test_jobs_that_nobody_ever_had(world: World) -> None:
    """Are lost, whatever their names and numbers are."""
    worker = await pull_worker(world)
    held = {"x": 1, "\x00": 1, "01900000-0000-7000-8000-000000000001": 2**70, "01900000-0000-7000-8000-000000000002": 1}
    assert set((await worker.heartbeat(holding=held)).lost) == set(held)


async def test_the_list(world: World) -> None:
    """By pages, filtered by region, type and status; for any account and any worker, nobody else."""
    found = [
        await pull_worker(world, name=str(number), region=region, supported_types=[kind])
        for number, (region, kind) in enumerate((("asia", "llm"), ("europe", "llm"), ("europe", "whisper")))
    ]
    await found[0].heartbeat()
    await world.tracker.workers.sync.flush()
    _, key = await world.account()
    everybody = sorted(worker.id for worker in found)
    assert [view.worker_id for view in (await _list(world, key)).workers] == everybody
    first = await _list(world, key, "?limit=2")
    assert first.next_cursor == everybody[1]
    second = await _list(world, key, f"?limit=2&cursor={first.next_cursor}")
    assert ([view.worker_id for view in second.workers], second.next_cursor) == (everybody[2:], None)
    for query, names in (
        ("?region=europe", {"1", "2"}),
        ("?type=whisper", {"2"}),
        ("?status=online", {"0"}),
        ("?status=offline&region=europe&type=llm", {"1"}),
    ):
        assert {view.name for view in (await _list(world, key, query)).workers} == names
    assert (await world.get(jobs_api.WORKERS_PATH, token=found[0].token)).status == 200
    assert (await world.get(jobs_api.WORKERS_PATH)).status == 401


@pytest.mark.parametrize("query", ["limit=101", "limit=x", "cursor=1", "region=x", "status=x", "type=x", "cursor=%00"])
async def test_lists_that_cannot_be_shown(world: World, query: str) -> None:
    """The answer says what is possible."""
    _, key = await world.account()
    assert (await world.get(f"{jobs_api.WORKERS_PATH}?{query}", key=key)).status == 422


async def test_showing_a_worker(world: World) -> None:
    """Itself by its token, anyone by an API key; who is not there is not found, whatever is asked for."""
    one, other = await pull_worker(world), await pull_worker(world)
    _, key = await world.account()
    assert (await _view(one, other, key=key)).worker_id == other.id
    assert (await world.get(jobs_api.WORKER_PATH.format(worker=other.id), token=one.token)).status == 403
    for unknown in (worker_id(9), "x", "%00", "a" * 300):
        assert (await world.get(jobs_api.WORKER_PATH.format(worker=unknown), key=key)).status == 404


async def test_maintenance(world: World) -> None:
    """On and off; heartbeats tell it."""
    worker = await pull_worker(world)
    for enabled in (True, False):
        response = await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {"enabled": enabled})
        assert jobs_api.WorkerView.model_validate_json(await response.text()).maintenance is enabled
        assert (await worker.heartbeat()).maintenance is enabled
    assert (await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {})).status == 422


async def test_leaving(world: World) -> None:
    """The token ends, and the worker is not listed any more; a new registration is a new worker."""
    worker = await pull_worker(world)
    path = jobs_api.WORKER_PATH.format(worker=worker.id)
    assert (await world.http.delete(path, headers={"X-Worker-Token": worker.token})).status == 204
    assert (await world.http.delete(path, headers={"X-Worker-Token": worker.token})).status == 401
    _, key = await world.account()
    assert (await _list(world, key)).workers == ()
    assert (await world.get(path, key=key)).status == 404
    assert (await pull_worker(world)).id != worker.id


async def test_regions_count_workers(world: World, clock: TestClock) -> None:
    """Beside the nodes, as long as they live."""
    await (await pull_worker(world, region="asia")).heartbeat()
    await pull_worker(world, region="asia")

    async def counts() -> dict[str, tuple[int, int]]:
        reply = api.RegionsReply.model_validate_json(await (await world.get(api.REGIONS_PATH)).text())
        return {each.region.value: (each.nodes, each.workers) for each in reply.regions if each.nodes or each.workers}

    assert await counts() == {"asia": (0, 1)}
    clock.advance(SILENT_S + 1)
    assert await counts() == {}


@pytest.mark.parametrize("limits", [Limits.model_validate({"rates": {"heartbeats": {"per_minute": 1, "burst": 2}}})])
async def test_heartbeats_have_a_budget(limited: World) -> None:
    """Each worker its own."""
    one = await pull_worker(limited)
    for status in (200, 200, 429):
        assert (await one.post(jobs_api.WORKER_HEARTBEAT_PATH, {"status": "online"})).status == status
    await (await pull_worker(limited)).heartbeat()


async def test_a_worker_that_changes_is_shown_so_at_once(world: World) -> None:
    """Whoever looks again in the same second sees it."""
    worker = await pull_worker(world)
    path = jobs_api.WORKER_PATH.format(worker=worker.id)

    async def shown() -> tuple[str, bool, float]:
        response = await world.get(path, token=worker.token)
        view = jobs_api.WorkerView.model_validate_json(await response.text())
        return view.status, view.maintenance, view.gpu_memory_gb

    await worker.heartbeat("online", gpu_info={"memory_total": 8.0})
    assert await shown() == ("online", False, 8.0)
    await worker.heartbeat("busy", gpu_info={"memory_total": 24.0})
    assert await shown() == ("busy", False, 24.0)
    await worker.post(jobs_api.WORKER_MAINTENANCE_PATH, {"enabled": True})
    assert (await shown())[1]
