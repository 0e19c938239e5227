"""A peer that asks for much and reads none of it: a node's streams behind a real p2pd, its engine made up.

A chat cannot show this: its 128 tokens fit into the buffers of both p2pds, so what ends it is the voucher that does not
come. Pictures need no vouchers, and they are larger than what is in between.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from gpunode_engines.base import Blob, Event, Finished
from gpunode_node import job_session
from gpunode_protocol.client_job import ClientJob, Completed, JobEvent
from gpunode_protocol.errors import ErrorCode
from gpunode_protocol.mesh import MeshStream
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.messages import JOB_PROTOCOL, RequestFrame, encode_frame
from gpunode_protocol.node_stream import MAX_UNSENT_BYTES, SLOW_CONSUMER_TIMEOUT_S
from gpunode_protocol.patience import Patience
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed
from gpunode_protocol.tasks import Task

from tests.acceptance.identified_mesh import mesh_of
from tests.node.fake_media_engine import FakeMediaEngine
from tests.node.world import CLIENT, NODE, Node, request, running_node
from tests.protocol.mesh.conftest import tcp_address

pytestmark = pytest.mark.acceptance

PICTURES = 4
PICTURE_BYTES = 4 * 1024 * 1024
"""Much more than sockets, p2pd and the transport's windows hold between node and client."""
SHORT_PATIENCE_S = 1.0
ENOUGH_S = 60.0


def _events() -> tuple[Event, ...]:
    data = bytes(PICTURE_BYTES)
    pictures = [
        Blob(index=index, offset=0, total_bytes=PICTURE_BYTES, data=data, media_type="image/png")
        for index in range(PICTURES)
    ]
    return (*pictures, Finished(reason="stop", prompt_tokens=0, output_tokens=0))


def _pictures() -> Signed[JobRequest]:
    params = {"prompt": "x", "width": 32, "height": 32, "steps": 2, "guidance_millionths": 1_000_000, "n": PICTURES}
    return request(task=Task.IMAGE_GEN.value, params=params)


@dataclass
class Scene:
    """A node whose streams come over its p2pd, and a client's p2pd."""

    node: Node
    server: HivemindMesh
    client: HivemindMesh
    address: str

    async def ask_and_read_nothing(self) -> tuple[Signed[JobRequest], MeshStream]:
        """Send a request and leave the answer alone; the stream is open as long as somebody holds it."""
        asked = _pictures()
        stream = await self.client.open_stream(NODE.peer_id, JOB_PROTOCOL, [self.address])
        await stream.write(encode_frame(RequestFrame(request=asked.envelope)))
        return asked, stream

    async def ask_and_read(self) -> Completed:
        """Do a job by the rules."""
        job = ClientJob(CLIENT, _pictures(), "grant-1", opened_at=0.0, patience=Patience())
        stream = await self.client.open_stream(NODE.peer_id, JOB_PROTOCOL, [self.address])
        events: list[JobEvent] = []
        while not job.is_over:
            for piece in job.data_to_send(0.0):
                await stream.write(piece)
            data = await stream.read()
            events += job.receive_data(data, 0.0) if data else job.receive_eof()
        for piece in job.data_to_send(0.0):
            await stream.write(piece)
        await stream.read()  # that the node has the voucher
        await stream.close()
        assert isinstance(events[-1], Completed), events[-1]
        return events[-1]


@pytest_asyncio.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """Start both p2pds; the client has one connection to the node, for all its streams."""
    async with (
        AsyncExitStack() as stack,
        running_node(tmp_path, FakeMediaEngine(Task.IMAGE_GEN, _events())) as node,
    ):
        server = await mesh_of(stack, tmp_path / "s", NODE)
        address = await tcp_address(server)
        client = await mesh_of(stack, tmp_path / "c", CLIENT, address)
        await server.serve(JOB_PROTOCOL, node.streams.serve)
        yield Scene(node, server, client, address)


@pytest.mark.parametrize(
    "patience_s", [SHORT_PATIENCE_S, pytest.param(SLOW_CONSUMER_TIMEOUT_S, marks=pytest.mark.full)]
)
async def test_a_slow_consumer(scene: Scene, monkeypatch: pytest.MonkeyPatch, patience_s: float) -> None:
    """Its job ends for that reason, the engine was not drained for it, and another stream is served meanwhile."""
    monkeypatch.setattr(job_session, "SLOW_CONSUMER_TIMEOUT_S", patience_s)
    asked, unread = await scene.ask_and_read_nothing()
    done = await scene.ask_and_read()
    assert done.usage.images == PICTURES
    run = scene.node.registry.find(CLIENT.peer_id, asked.envelope)
    assert run is not None
    async with asyncio.timeout(ENOUGH_S):
        while not run.job.is_over:
            await run.bell.wait()
    assert run.job.error is not None
    assert run.job.error.code is ErrorCode.SLOW_CONSUMER
    kept_bytes = sum(map(len, run.job.frames))
    assert MAX_UNSENT_BYTES < kept_bytes < 2 * PICTURE_BYTES
    assert scene.server.status.restarts == 0
    unread.abort()
