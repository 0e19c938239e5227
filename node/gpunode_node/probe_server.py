"""Answers probes with the live load: one round trip tells a client both distance and queue."""

import asyncio
import contextlib
from collections.abc import Sequence

from gpunode_protocol.errors import JobError, ProtocolError
from gpunode_protocol.mesh.errors import PeerUnreachable
from gpunode_protocol.mesh.interface import MeshStream
from gpunode_protocol.messages import ErrorFrame, ProbeFrame, ProbeReplyFrame, encode_frame
from gpunode_protocol.node_stream import FIRST_FRAME_TIMEOUT_S, job_error_of
from gpunode_protocol.probe import ProbeServer

from gpunode_node.job_intake import JobIntake
from gpunode_node.served_model import ServedModel
from gpunode_node.stream_gate import StreamGate

IDLE_TIMEOUT_S = 60.0
"""A probe stream that asks nothing is closed after this."""


class ProbeStreams:
    """Serves the probe streams of all clients."""

    def __init__(self, intake: JobIntake) -> None:
        self._intake = intake
        self._gate = StreamGate()

    async def serve(self, stream: MeshStream) -> None:
        """Serve one stream; a ``StreamHandler``."""
        server = ProbeServer()
        try:
            with self._gate.entered(stream):
                timeout_s = FIRST_FRAME_TIMEOUT_S
                await self._gate.pace(stream, 0, 1)  # a stream costs as much as a frame, whatever it brings
                while data := await _read(stream, timeout_s):
                    probes = server.receive_data(data)
                    await self._gate.pace(stream, len(data), len(probes))
                    for probe in probes:
                        await stream.write(encode_frame(self.answer(probe)))
                    timeout_s = IDLE_TIMEOUT_S
        except PeerUnreachable:
            pass
        except ProtocolError as error:
            await _say(stream, job_error_of(error))
        except JobError as error:
            await _say(stream, error)
        finally:
            await stream.close()

    def answer(self, probe: ProbeFrame) -> ProbeReplyFrame:
        """Return the load of the model that a probe asks about, or of all models together."""
        models = [model for model in self._intake.models if probe.model in {"", model.name}]
        return ProbeReplyFrame(
            nonce=probe.nonce,
            active=sum(model.scheduler.active for model in models),
            queued=sum(model.scheduler.queued for model in models),
            slots=sum(model.scheduler.slots for model in models),
            wait_ms=_wait_ms(models),
            draining=not self._intake.takes_jobs,
        )


def _wait_ms(models: Sequence[ServedModel]) -> int:
    now = asyncio.get_running_loop().time()
    return round(1000 * max((model.scheduler.wait_s(now) for model in models), default=0.0))


async def _read(stream: MeshStream, timeout_s: float) -> bytes:
    try:
        async with asyncio.timeout(timeout_s):
            return await stream.read()
    except TimeoutError:
        return b""


async def _say(stream: MeshStream, error: JobError) -> None:
    with contextlib.suppress(PeerUnreachable):
        await stream.write(encode_frame(ErrorFrame.of(error)))
