"""Somebody with an API key who uses the queue over HTTP."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import ClientResponse
from gpunode_protocol.jobs_api import (
    JOB_PATH,
    JOBS_PATH,
    JobsPage,
    JobTicket,
    JobView,
)
from gpunode_tracker.entries import account_name
from gpunode_tracker.jobs.estimates import Capacity
from gpunode_tracker.storage.accounts import public_key_id

from tests.tracker.conftest import World
from tests.tracker.jobs.queue_parties import HELLO, Queue

CHAT: dict[str, Any] = {"type": "llm", "params": HELLO}
GIVEN = 100_000_000


class Client:
    """Somebody with an API key."""

    def __init__(self, world: World, account: str, key: str) -> None:
        self.world = world
        self.account = account
        self.key_id = public_key_id(key)
        self.headers = {"Authorization": f"Bearer {key}"}
        self.queue = Queue(world.tracker)

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> ClientResponse:
        """Send a request; ``body``: text as it is, anything else as JSON."""
        data = None if body is None else io.BytesIO(_bytes_of(body))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.world.http.request(method, path, data=data, headers=self.headers | named)

    async def submit(self, **changes: Any) -> JobTicket:
        """Submit a chat."""
        response = await self.call("POST", JOBS_PATH, CHAT | changes)
        assert response.status == 202, await response.text()
        return JobTicket.model_validate_json(await response.text())

    async def view(self, job: str) -> JobView:
        """Return a job."""
        response = await self.call("GET", JOB_PATH.format(job=job))
        assert response.status == 200, await response.text()
        return JobView.model_validate_json(await response.text())

    async def problem(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, str]:
        """Return status, code and detail of a refusal."""
        response = await self.call(method, path, body, **headers)
        assert response.content_type == "application/problem+json", await response.text()
        value = await response.json()
        return response.status, value["code"], value["detail"]

    async def balance(self) -> int:
        """Return what the account can spend, micro-credits."""
        return await self.queue.balance(account_name(self.account))


def _bytes_of(body: Any) -> bytes:
    if isinstance(body, bytes):
        return body
    return (body if isinstance(body, str) else json.dumps(body)).encode()


async def client_of(world: World, **account: Any) -> Client:
    """Return a new client."""
    return Client(world, *await world.account(**account))


class Everybody:
    """A source of capacities that says what it is told."""

    def __init__(self, *capacities: Capacity) -> None:
        self._capacities = capacities

    async def capacities(self) -> list[Capacity]:
        """Return them."""
        return list(self._capacities)


async def page(client: Client, query: str = "") -> JobsPage:
    """Return one page of the client's jobs."""
    response = await client.call("GET", JOBS_PATH + query)
    assert response.status == 200, await response.text()
    return JobsPage.model_validate_json(await response.text())


async def read_events(response: ClientResponse) -> AsyncIterator[tuple[str, Any]]:
    """Yield name and data of each event; comments have the name ``:``."""
    while block := (await _block(response)):
        lines = dict(line.split(": ", 1) for line in block.rstrip().splitlines())
        yield (lines["event"], json.loads(lines["data"])) if "event" in lines else (":", None)


async def _block(response: ClientResponse) -> str:
    text = b""
    while not text.endswith(b"\n\n"):
        line = await response.content.readline()
        if not line:
            assert not text
            return ""
        text += line
    return text.decode()
