"""A client in the tests: the protocol's own ``ClientJob`` on a stream in memory."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import ClientJob, Completed, Failed, JobEvent
from gpunode_protocol.errors import JobError
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import (
    NODE_FRAMES,
    AcceptedFrame,
    ErrorFrame,
    Frame,
    RequestFrame,
    TokensFrame,
    decode_frame,
    encode_frame,
)
from gpunode_protocol.patience import Patience
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.signing import Signed

from tests.node.memory_stream import MemoryStream
from tests.node.world import CLIENT, Node


@dataclass
class JobClient:
    """Sends one request and collects what comes.

    Args:
        vouches: whether vouchers are sent at all.
        before: the machine of a stream that was cut; this one re-attaches to its job.
    """

    stream: MemoryStream
    request: Signed[JobRequest]
    signer: Identity = CLIENT
    jti: str = "grant-1"
    vouches: bool = True
    events: list[JobEvent] = field(default_factory=list)
    before: ClientJob | None = None
    inputs: Sequence[Blob] = ()

    def __post_init__(self) -> None:
        if self.before is not None:
            self.job = self.before.reattached(asyncio.get_running_loop().time())
            return
        self.job = ClientJob(
            self.signer,
            self.request,
            self.jti,
            opened_at=asyncio.get_running_loop().time(),
            patience=Patience(first_output_s=1e6, queue_s=1e6),
            inputs=self.inputs,
        )

    async def flush(self) -> None:
        """Send what is due."""
        while pieces := self.job.data_to_send(asyncio.get_running_loop().time()):
            for data in pieces:
                if self.vouches or decode_type(data) != "voucher":
                    await self.stream.write(data)

    async def run(self, until: Callable[[JobEvent], bool] = lambda _: False) -> "JobClient":
        """Drive the job to its end, or to the first event that ``until`` accepts."""
        clock = asyncio.get_running_loop().time
        while not self.job.is_over:
            await self.flush()
            data = await self.stream.read()
            events = self.job.receive_data(data, clock()) if data else self.job.receive_eof()
            self.events += events
            await self.flush()
            if any(until(event) for event in events):
                return self
        await self.stream.close()
        return self

    @property
    def text(self) -> str:
        """All text so far."""
        return "".join(event.text for event in self.events if isinstance(event, TokensFrame))

    @property
    def completed(self) -> Completed:
        """The end, which must be a good one."""
        last = self.events[-1]
        assert isinstance(last, Completed), last
        return last

    @property
    def error(self) -> JobError:
        """The end, which must be an error."""
        last = self.events[-1]
        assert isinstance(last, Failed), last
        assert isinstance(last.error, JobError), last
        return last.error

    @property
    def accepted(self) -> AcceptedFrame:
        """The node's quote."""
        return next(event for event in self.events if isinstance(event, AcceptedFrame))


def decode_type(data: bytes) -> str:
    """Return the type of an encoded frame."""
    from gpunode_protocol.safe_msgpack import unpack

    value = unpack(data[4:])
    assert isinstance(value, dict)
    return str(value["type"])


async def ask(node: Node, request: Signed[JobRequest], signer: Identity = CLIENT, jti: str = "grant-1") -> JobClient:
    """Run one job to its end."""
    return await JobClient(node.connect(signer.peer_id), request, signer, jti).run()


async def raw_frames(stream: MemoryStream) -> list[Frame]:
    """Read until the node closes the stream."""
    parser, frames = FrameParser(), list[Frame]()
    while data := await stream.read():
        frames += [decode_frame(payload, NODE_FRAMES) for payload in parser.feed(data)]
    return frames


async def refusal(node: Node, request: Signed[JobRequest], *, peer: Identity = CLIENT) -> ErrorFrame:
    """Send a request from a peer and return the error that ends the stream."""
    stream = node.connect(peer.peer_id)
    await stream.write(encode_frame(RequestFrame(request=request.envelope)))
    last = (await raw_frames(stream))[-1]
    assert isinstance(last, ErrorFrame), last
    return last
