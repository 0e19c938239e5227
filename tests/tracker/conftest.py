"""A tracker in process, without mesh, on a real database and with a clock that tests turn.

Which database: SQLite, or what ``tests.tracker.databases`` says of a test. ``make test-full`` runs every test that
opens one on both.
"""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_asyncio
import redis.asyncio as redis_client
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tasks import Task
from gpunode_tracker.administration import Administration
from gpunode_tracker.api_keys import KeyTerms
from gpunode_tracker.app import create_app
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.limits import Limits
from gpunode_tracker.scopes import Scope
from gpunode_tracker.storage.tables import evidence
from gpunode_tracker.tracker import Tracker
from sqlalchemy import select

from tests.needs import lacking
from tests.tracker.databases import FULL_RUN, SQLITE
from tests.tracker.parties import Job, TestClock
from tests.tracker.postgres import NO_POSTGRES, Postgres, find_binaries
from tests.tracker.redis_server import NO_REDIS, Redis, find_redis

M = TypeVar("M", bound=api.WireModel)

_TEMPLATE = "fresh_tracker"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let tests that open a database and do not say on which one run on SQLite, and in a full run on both."""
    names = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize")]
    if "database_kind" in metafunc.fixturenames and "database_kind" not in names:
        metafunc.parametrize("database_kind", FULL_RUN, indirect=True)


@pytest.fixture
def database_kind(request: pytest.FixtureRequest) -> str:
    """``sqlite`` or ``postgresql``."""
    return str(request.param)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL, shared by the run: take a database of it, and do not stop it."""
    binaries = find_binaries()
    if binaries is None:
        lacking("postgresql", NO_POSTGRES)
    with Postgres(binaries) as running:
        yield running


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Redis]:
    """A running Redis, shared by the run: do not stop it."""
    program = find_redis()
    if program is None:
        lacking("redis", NO_REDIS)
    with Redis(program) as running:
        yield running


@pytest.fixture
async def redis_url(redis_server: Redis) -> str:
    """The URL of a Redis that holds nothing."""
    async with redis_client.from_url(redis_server.url) as client:
        await client.flushall()
    return redis_server.url


@pytest.fixture
def clock() -> TestClock:
    """A clock that stands still until the test turns it."""
    return TestClock()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh_data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder after its first start, from which every test gets a copy."""
    path = tmp_path_factory.mktemp("tracker") / "data"
    tracker = await Tracker.open(TrackerSettings.load({"data_dir": path, "mesh": False}), TestClock())
    await tracker.close()
    return path


@pytest.fixture
def data_dir(fresh_data_dir: Path, tmp_path: Path) -> Path:
    """A data folder of the test's own, for commands."""
    return Path(shutil.copytree(fresh_data_dir, tmp_path / "tracker"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def fresh_postgres_data_dir(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder that belongs to the database ``_TEMPLATE``, after a first start on PostgreSQL."""
    path = tmp_path_factory.mktemp("tracker-postgresql") / "data"
    postgres.create_database(_TEMPLATE)
    values = {"data_dir": path, "mesh": False, "database_url": postgres.url(_TEMPLATE)}
    tracker = await Tracker.open(TrackerSettings.load(values), TestClock())
    await tracker.close()
    return path


@pytest.fixture
def settings(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrackerSettings]:
    """Settings with a data folder and a database of the test's own."""
    path = tmp_path / "tracker"
    if database_kind == SQLITE:
        shutil.copytree(request.getfixturevalue("fresh_data_dir"), path)
        yield TrackerSettings.load({"data_dir": path, "mesh": False})
    else:
        shutil.copytree(request.getfixturevalue("fresh_postgres_data_dir"), path)
        server: Postgres = request.getfixturevalue("postgres")
        with server.new_database(_TEMPLATE) as url:
            yield TrackerSettings.load({"data_dir": path, "mesh": False, "database_url": url})


@pytest.fixture
def empty_database_url(database_kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database without any table."""
    if database_kind == SQLITE:
        yield f"sqlite+aiosqlite:///{tmp_path / 'empty.db'}"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        with server.new_database() as url:
            yield url


@pytest.fixture
async def tracker(settings: TrackerSettings, clock: TestClock) -> AsyncIterator[Tracker]:
    """An open tracker."""
    opened = await Tracker.open(settings, clock, clock)
    yield opened
    await opened.close()


@dataclass
class World:
    """A tracker behind HTTP, with short ways to be a client or a node of it."""

    tracker: Tracker
    http: TestClient[Any, Any]
    admin: Administration

    async def account(self, *, credits_given: int = 100, promotional: bool = False) -> tuple[str, str]:
        """Return a new account's id and API key."""
        account = await self.admin.create_account("test", credits_given=credits_given, promotional=promotional)
        return account.id, await self.admin.create_key(account.id)

    async def key(self, *scopes: Scope, account: str | None = None, **terms: Any) -> str:
        """Return a new API key, of a new account unless one is named, with these scopes or the default ones."""
        if account is None:
            account = (await self.admin.create_account("test", credits_given=0)).id
        return await self.admin.create_key(account, KeyTerms(scopes=frozenset(scopes) or None, **terms))

    async def evidence(self) -> list[str]:
        """Return why each piece of evidence was kept."""
        async with self.tracker.database.read() as connection:
            rows = await connection.execute(select(evidence.c.reason).order_by(evidence.c.received_at))
            return list(rows.scalars())

    async def post(self, path: str, body: api.WireModel, **headers: str) -> ClientResponse:
        """Send a model as JSON; ``key``, ``token`` and ``address`` become headers."""
        return await self.http.post(path, data=body.model_dump_json(exclude_none=True), headers=_headers(headers))

    async def read(self, model: type[M], path: str, **headers: str) -> M:
        """Get a path that answers with a model."""
        response = await self.get(path, **headers)
        assert response.status == 200, await response.text()
        return model.model_validate_json(await response.text())

    async def made(self, model: type[M], path: str, body: api.WireModel, **headers: str) -> M:
        """Send a body by which something is made, and return the answer."""
        response = await self.post(path, body, **headers)
        assert response.status == 201, await response.text()
        return model.model_validate_json(await response.text())

    async def delete(self, path: str, **headers: str) -> ClientResponse:
        """Delete what a path names."""
        return await self.http.delete(path, headers=_headers(headers))

    async def problem(self, response: ClientResponse) -> api.Problem:
        """Return what a refusal says."""
        assert response.content_type == "application/problem+json", await response.text()
        return api.Problem.model_validate_json(await response.text())

    async def get(self, path: str, **headers: str) -> ClientResponse:
        """Get a path."""
        return await self.http.get(path, headers=_headers(headers))

    async def grant(self, key: str, client: Identity, **request: Any) -> api.GrantReply:
        """Return a grant for a client."""
        body = api.GrantRequest(peer=client.peer_id, tasks=(Task.LLM,), **request)
        response = await self.post(api.GRANTS_PATH, body, key=key)
        assert response.status == 201, await response.text()
        return api.GrantReply.model_validate_json(await response.text())

    async def challenge(self) -> bytes:
        """Return a challenge."""
        response = await self.http.post(api.CHALLENGE_PATH)
        return api.ChallengeReply.model_validate_json(await response.text()).challenge

    async def registration(self, node: Identity, **changes: Any) -> Envelope:
        """Return a node's signed registration with a fresh challenge."""
        fields = {"network": self.network, "peer": node.peer_id, "challenge": await self.challenge()} | changes
        return sign(node, api.Registration(**fields)).envelope

    async def register(self, node: Identity, *, address: str | None = None, **changes: Any) -> api.RegisterReply:
        """Register a node; ``address``: where it comes from, for a tracker that believes X-Forwarded-For."""
        body = api.RegisterRequest(registration=await self.registration(node, **changes))
        response = await self.post(api.REGISTER_PATH, body, **({"address": address} if address else {}))
        assert response.status == 201, await response.text()
        return api.RegisterReply.model_validate_json(await response.text())

    async def link(self, node: Identity, key: str) -> ClientResponse:
        """Link a node to the account of an API key."""
        link = api.Link(network=self.network, peer=node.peer_id, challenge=await self.challenge())
        body = api.LinkRequest(link=sign(node, link).envelope)
        return await self.post(api.LINK_PATH.format(peer=node.peer_id), body, key=key)

    async def settle(self, *items: api.SettlementItem) -> list[api.SettlementResult]:
        """Submit a batch."""
        response = await self.post(api.SETTLEMENTS_PATH, api.SettlementBatch(items=items))
        assert response.status == 200, await response.text()
        return list(api.SettlementReply.model_validate_json(await response.text()).results)

    async def balance(self, **headers: str) -> api.BalanceReply:
        """Return the balance of whoever the headers name."""
        response = await self.get(api.BALANCE_PATH, **headers)
        assert response.status == 200, await response.text()
        return api.BalanceReply.model_validate_json(await response.text())

    async def job(self, *, open_microcredits: int | None = 1_000_000, **request: Any) -> "Deal":
        """Return a job between a new client with a grant and a new registered node."""
        account, key = await self.account()
        client, node = Identity.generate(), Identity.generate()
        grant = await self.grant(key, client, open_microcredits=open_microcredits, **request)
        registered = await self.register(node)
        job = Job(self.network, client, node, grant.jti)
        return Deal(job, account, key, grant, registered.token)

    @property
    def network(self) -> str:
        """The network id."""
        return self.tracker.keys.network


@dataclass
class Deal:
    """A job, who pays for it and who earns."""

    job: Job
    account: str
    key: str
    grant: api.GrantReply
    token: str


def _headers(given: dict[str, str]) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    if "key" in given:
        headers["Authorization"] = f"Bearer {given['key']}"
    if "token" in given:
        headers["X-Worker-Token"] = given["token"]
    if "address" in given:
        headers["X-Forwarded-For"] = given["address"]
    return headers


@pytest.fixture
def limits() -> Limits:
    """The limits of ``limited``; a test names others by parametrizing this."""
    return Limits()


@pytest.fixture
async def limited(settings: TrackerSettings, clock: TestClock, limits: Limits) -> AsyncIterator[World]:
    """A tracker with ``limits``, whose rates are counted by ``clock``, and which believes X-Forwarded-For."""
    strict = settings.model_copy(update={"limits": limits, "trusted_proxies": ("127.0.0.1",)})
    tracker = await Tracker.open(strict, clock, clock)
    async with TestClient(TestServer(create_app(tracker, clock))) as http:
        yield World(tracker, http, Administration(strict, tracker.database, tracker.keys, tracker.clock))


@pytest.fixture
async def world(tracker: Tracker) -> AsyncIterator[World]:
    """A tracker behind HTTP."""
    async with TestClient(TestServer(create_app(tracker))) as http:
        yield World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))
