"""A participant that speaks the wire protocol by itself, so that it can also speak it wrongly."""

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpunode._loop_thread import LoopThread, shared_loop
from gpunode_protocol.client_job import ClientJob, Completed, JobEvent
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.identity import Identity
from gpunode_protocol.job_ids import new_job_id
from gpunode_protocol.mesh import Mesh, MeshConfig, MeshStream, RecordRejected, ValidRecord, create_mesh
from gpunode_protocol.messages import (
    JOB_PROTOCOL,
    NODE_FRAMES,
    DoneFrame,
    ErrorFrame,
    Frame,
    PingFrame,
    RequestFrame,
    SettledFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.patience import Patience
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tracker_api import GRANTS_PATH, NETWORK_PATH, GrantReply, GrantRequest, NetworkInfo

from tests.acceptance.network import MODEL, Network
from tests.acceptance.processes import Daemon

FRAME_DEADLINE_S = 20.0
GRANT_MICROCREDITS = 1_000_000
PATIENT = Patience(liveness_s=60.0, first_output_s=60.0, queue_s=60.0)


class _StoresNothing:
    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> ValidRecord:  # noqa: ARG002 -- the validator's signature
        """Refuse every record: this peer only opens streams."""
        raise RecordRejected("not_wanted")


@dataclass
class RawStream:
    """One job stream. ``payloads``: what came so far, frame by frame, pings left out."""

    loop: LoopThread
    stream: MeshStream
    payloads: list[bytes] = field(default_factory=list)
    _parser: FrameParser = field(default_factory=FrameParser)
    _waiting: list[Frame] = field(default_factory=list)

    def send(self, *pieces: bytes) -> None:
        """Write raw bytes, one write each."""
        for piece in pieces:
            self.loop.run(self.stream.write(piece))

    def next(self) -> Frame | None:
        """Return the next frame that is no ping; None when the node has closed the stream."""
        while not self._waiting:
            data = self.loop.run(asyncio.wait_for(self.stream.read(), FRAME_DEADLINE_S))
            if not data:
                return None
            for payload in self._parser.feed(data):
                frame = decode_frame(payload, NODE_FRAMES)
                if not isinstance(frame, PingFrame):
                    self.payloads.append(payload)
                    self._waiting.append(frame)
        return self._waiting.pop(0)

    def until(self, stop: Callable[[Frame], bool]) -> list[Frame]:
        """Return the frames up to the first one that ``stop`` accepts, or up to the stream's end."""
        frames: list[Frame] = []
        while (frame := self.next()) is not None:
            frames.append(frame)
            if stop(frame):
                break
        return frames

    def to_the_end(self) -> list[Frame]:
        """Return the frames up to ``done`` or ``error``."""
        return self.until(lambda frame: isinstance(frame, DoneFrame | ErrorFrame))

    def error(self) -> ErrorFrame:
        """Return the error with which the node answers."""
        frames = self.to_the_end()
        assert frames, "the node closed the stream without a word"
        assert isinstance(frames[-1], ErrorFrame), frames[-1]
        return frames[-1]

    def close(self) -> None:
        """Close both directions."""
        self.loop.run(self.stream.close())


class RawPeer:
    """A fresh identity on the mesh, with grants from the network's account.

    Args:
        network: running.
        folder: for the key and p2pd's sockets.
    """

    def __init__(self, network: Network, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.network = network
        self.info = NetworkInfo.model_validate(_json(network.call("GET", NETWORK_PATH)), strict=False)
        self._loop = shared_loop()
        config = MeshConfig(
            identity_path=folder / "identity.key",
            state_dir=folder,
            listen_addresses=(),
            bootstrap=self.info.bootstrap,
            client_mode=True,
        )
        self.mesh = self._loop.run(_started(config))
        self.identity: Identity = self.mesh.identity
        self._streams: list[RawStream] = []

    def close_streams(self) -> None:
        """Close what was opened since the last call; twice does no harm."""
        while self._streams:
            self._streams.pop().close()

    def stop(self) -> None:
        """Leave the mesh, and whatever is open."""
        self._loop.run(self._leave())

    async def _leave(self) -> None:
        while self._streams:
            self._streams.pop().stream.abort()  # one that nobody ends is a warning, which fails a later test
        await self.mesh.stop()

    def grant(self, **changes: Any) -> GrantReply:
        """Return an open grant of one credit for this peer; ``changes``: other fields of the request."""
        fields = {"peer": self.identity.peer_id, "tasks": ("llm",), "open_microcredits": GRANT_MICROCREDITS} | changes
        status, reply = self.network.call("POST", GRANTS_PATH, GrantRequest(**fields))
        assert status == 201, reply
        return GrantReply.model_validate(reply)

    def body(self, node: Daemon, grant: str, **changes: Any) -> JobRequest:
        """Return an honest request for a short greedy answer; ``changes``: other fields, ``params`` merged."""
        now = int(time.time())
        params = {
            "messages": ({"role": "user", "content": "What is the capital of France?"},),
            "max_tokens": 8,
            "temperature_millionths": 0,
        } | changes.pop("params", {})
        fields = {
            "network": self.info.network,
            "job": new_job_id(time.time()),
            "segment": 0,
            "client": self.identity.peer_id,
            "node": node.run["peer_id"],
            "grant": grant,
            "issued_at": now,
            "deadline_at": now + 120,
            "task": "llm",
            "model": MODEL,
            "params": params,
            "salt": os.urandom(32),
        } | changes
        return JobRequest(**fields)

    def request(self, node: Daemon, grant: str, **changes: Any) -> Signed[JobRequest]:
        """Return the signed request; see ``body``."""
        return sign(self.identity, self.body(node, grant, **changes))

    def open(self, node: Daemon) -> RawStream:
        """Open a job stream to a node."""
        self._streams.append(self._loop.run(self._open(node)))
        return self._streams[-1]

    async def _open(self, node: Daemon) -> RawStream:
        run = node.run
        return RawStream(self._loop, await self.mesh.open_stream(run["peer_id"], JOB_PROTOCOL, run["addresses"]))

    def send(self, node: Daemon, *pieces: bytes) -> RawStream:
        """Open a stream and write raw bytes to it."""
        stream = self.open(node)
        stream.send(*pieces)
        return stream

    def ask(self, node: Daemon, request: Signed[JobRequest]) -> RawStream:
        """Open a stream and send a request; nothing is vouched for."""
        return self.send(node, encode_frame(RequestFrame(request=request.envelope)))

    def work(self, node: Daemon, request: Signed[JobRequest], jti: str) -> "HonestJob":
        """Open a stream for a job that is done by the rules."""
        job = ClientJob(self.identity, request, jti, opened_at=time.monotonic(), patience=PATIENT)
        return HonestJob(self.open(node), job)

    def complete(self, node: Daemon, **changes: Any) -> Completed:
        """Do one whole job under a grant of its own."""
        granted = self.grant()
        return self.work(node, self.request(node, granted.grant, **changes), granted.jti).finish()


@dataclass
class HonestJob:
    """A job that vouches as it should, driven step by step."""

    stream: RawStream
    job: ClientJob
    events: list[JobEvent] = field(default_factory=list)

    def read_until(self, stop: Callable[[ClientJob], bool]) -> None:
        """Receive and vouch until ``stop`` says so, or the job is over."""
        link = self.stream
        while not stop(self.job) and not self.job.is_over:
            link.send(*self.job.data_to_send(time.monotonic()))
            data = link.loop.run(asyncio.wait_for(link.stream.read(), FRAME_DEADLINE_S))
            now = time.monotonic()
            self.events += self.job.receive_data(data, now) if data else self.job.receive_eof()
        link.send(*self.job.data_to_send(time.monotonic()))

    def finish(self) -> Completed:
        """Receive everything, send the final voucher, and return the verified end."""
        self.read_until(lambda _: False)
        last = self.events[-1]
        assert isinstance(last, Completed), last
        assert isinstance(self.stream.next(), SettledFrame)
        self.stream.close()
        return last


async def _started(config: MeshConfig) -> Mesh:
    mesh = create_mesh(config, _StoresNothing())
    await mesh.start()
    return mesh


def _json(reply: tuple[int, Any]) -> Any:
    assert reply[0] == 200, reply
    return reply[1]
