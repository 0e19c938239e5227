"""One stream of a client: its request, the job's frames to it, its vouchers and its cancel from it."""

import asyncio
import contextlib
import logging

from gpunode_protocol.errors import ErrorCode, JobError, job_error
from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.mesh.interface import MeshStream
from gpunode_protocol.mesh.multiaddrs import origin_of
from gpunode_protocol.messages import (
    PING_INTERVAL_S,
    BlobFrame,
    CancelFrame,
    ErrorFrame,
    PingFrame,
    RequestFrame,
    SettledFrame,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.node_stream import (
    FIRST_FRAME_TIMEOUT_S,
    SLOW_CONSUMER_TIMEOUT_S,
    NodeEvent,
    NodeStream,
)

from gpunode_node.job_intake import JobIntake
from gpunode_node.job_run import JobRun
from gpunode_node.stream_gate import StreamGate

logger = logging.getLogger(__name__)

FINAL_VOUCHER_TIMEOUT_S = 10.0
"""How long a stream stays open after ``done`` or ``error`` for the client's last voucher."""


class JobSession:
    """Serves one stream until it ends; the job may outlive it."""

    def __init__(self, stream: MeshStream, intake: JobIntake, gate: StreamGate) -> None:
        self.cursor = 0  #: frames of the job that were sent
        self._gate = gate
        self._stream = stream
        self._intake = intake
        self._parser = NodeStream()
        self._has_vouched = False
        self._all_sent = asyncio.Event()
        self._clock = asyncio.get_running_loop().time

    async def serve(self) -> None:
        """Drive the stream. What goes wrong is told to the client where the stream still carries it."""
        try:
            events = await self._first_events()
            if events:
                await self._serve_request(events)
        except JobError as error:
            await self._say(error)
        except PeerUnreachable:
            logger.debug("stream cut", extra={"event": "stream_cut"})

    async def _first_events(self) -> list[NodeEvent]:
        """Return the request and what came with it; nothing when the client closed first."""
        await self._gate.pace(self._stream, 0, 1)  # the first frame, whatever it turns out to be
        try:
            async with asyncio.timeout(FIRST_FRAME_TIMEOUT_S):
                while data := await self._stream.read():
                    await self._gate.pace(self._stream, len(data), 0)
                    if events := self._parser.receive_data(data):
                        await self._gate.pace(self._stream, 0, len(events) - 1)
                        return events
        except TimeoutError as error:
            raise job_error(
                ErrorCode.FIRST_FRAME_TIMEOUT, f"No request came within {FIRST_FRAME_TIMEOUT_S:g} s."
            ) from error
        return []

    async def _serve_request(self, events: list[NodeEvent]) -> None:
        first, *rest = events
        if not isinstance(first, RequestFrame):  # NodeStream lets nothing else come first
            raise job_error(ErrorCode.UNEXPECTED_MESSAGE, "The first frame must be a request.")
        origin = origin_of(self._stream.remote_address, self._stream.remote_peer_id)
        run = self._intake.open(first.request, self._stream.remote_peer_id, origin)
        run.attach(self)
        receiving = asyncio.create_task(self._receive(run, rest))
        sending = asyncio.create_task(self._send(run))
        try:
            await asyncio.wait({receiving, sending}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done() and sending.exception() is None and run.is_attached(self):
                await asyncio.wait({receiving}, timeout=FINAL_VOUCHER_TIMEOUT_S)
        finally:
            run.detach(self)
            for task in (receiving, sending):
                task.cancel()
            results = await asyncio.gather(receiving, sending, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _send(self, run: JobRun) -> None:
        """Send the job's frames as they come, and pings between them, until the last one is out."""
        ping_at = self._clock() + PING_INTERVAL_S
        while run.is_attached(self):
            if self.cursor < len(run.job.frames):
                await self._write(run, run.job.frames[self.cursor])
                self.cursor += 1
                run.bell.ring()
            elif run.job.is_over:
                self._all_sent.set()
                return
            elif self._clock() >= ping_at:
                await self._write(run, encode_frame(PingFrame()))
            else:
                await run.bell.wait(ping_at - self._clock())
                continue
            ping_at = self._clock() + PING_INTERVAL_S

    async def _write(self, run: JobRun, data: bytes) -> None:
        try:
            async with asyncio.timeout(SLOW_CONSUMER_TIMEOUT_S):
                await self._stream.write(data)
        except TimeoutError as error:
            slow = job_error(
                ErrorCode.SLOW_CONSUMER,
                f"The client took no data for {SLOW_CONSUMER_TIMEOUT_S:g} s; the job was ended.",
            )
            run.stop(slow)
            self._stream.abort()
            raise PeerUnreachable(str(slow)) from error

    async def _receive(self, run: JobRun, events: list[NodeEvent]) -> None:
        """Handle what the client sends until it closes the stream or has vouched for everything, and tell it so."""
        while True:
            for event in events:
                self._handle(run, event)
            if run.job.is_settled and self._has_vouched:  # who comes back for the result of a settled job has yet to
                await self._all_sent.wait()
                if await run.keeps_final_voucher():
                    await self._stream.write(encode_frame(SettledFrame()))
                return
            data = await self._stream.read()
            if not data:
                return
            events = self._parser.receive_data(data)
            await self._gate.pace(self._stream, len(data), len(events))

    def _handle(self, run: JobRun, event: NodeEvent) -> None:
        match event:
            case VoucherFrame(voucher=envelope):
                self._has_vouched = True
                try:
                    run.receive_voucher(envelope)
                except JobError as error:
                    if run.job.is_over:
                        raise
                    run.stop(error)
            case CancelFrame():
                run.cancel()
            case BlobFrame():
                run.receive_input(event)
            case RequestFrame():  # NodeStream lets no second one pass
                raise job_error(ErrorCode.UNEXPECTED_MESSAGE, "A second request came on one stream.")

    async def _say(self, error: JobError) -> None:
        """Send an error that is this stream's and not the job's."""
        logger.info("stream refused: %s", error.code, extra={"event": "stream_refused", "code": error.code.value})
        with contextlib.suppress(PeerUnreachable, TimeoutError):
            async with asyncio.timeout(SLOW_CONSUMER_TIMEOUT_S):
                await self._stream.write(encode_frame(ErrorFrame.of(error)))


class JobStreams:
    """Serves the job streams of all clients."""

    def __init__(self, intake: JobIntake) -> None:
        self._intake = intake
        self._gate = StreamGate()

    async def serve(self, stream: MeshStream) -> None:
        """Serve one stream; a ``StreamHandler``."""
        try:
            self._intake.check_memory()
            with self._gate.entered(stream):
                await JobSession(stream, self._intake, self._gate).serve()
        except JobError as error:
            with contextlib.suppress(PeerUnreachable):
                await stream.write(encode_frame(ErrorFrame.of(error)))
        finally:
            await stream.close()
