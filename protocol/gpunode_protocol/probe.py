"""A probe, sans-IO: one frame there, one back; its round trip is the RTT, its content the live load."""

from dataclasses import dataclass, field

from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.framing import FrameParser
from gpunode_protocol.messages import (
    PROBE_FRAMES,
    PROBE_REPLY_FRAMES,
    ErrorFrame,
    ProbeFrame,
    ProbeReplyFrame,
    decode_frame,
    encode_frame,
)

PROBE_TIMEOUT_S = 2.0
MAX_PROBE_FRAME_BYTES = 4_096
MAX_PROBES_PER_STREAM = 64


@dataclass
class ProbeClient:
    """One probe; ``nonce``: 8 to 32 random bytes."""

    nonce: bytes
    model: str = ""
    _parser: FrameParser = field(default_factory=lambda: FrameParser(MAX_PROBE_FRAME_BYTES))

    def data_to_send(self) -> bytes:
        """Return the probe frame."""
        return encode_frame(ProbeFrame(nonce=self.nonce, model=self.model))

    def receive_data(self, data: bytes) -> ProbeReplyFrame | None:
        """Return the reply when it is whole.

        Raises:
            ProtocolError: not a reply to this probe. JobError: the node refused.
        """
        for payload in self._parser.feed(data):
            reply = decode_frame(payload, PROBE_REPLY_FRAMES)
            if isinstance(reply, ErrorFrame):
                raise reply.to_error()
            if not isinstance(reply, ProbeReplyFrame) or reply.nonce != self.nonce:
                raise MalformedMessage("The node answered another probe.")
            return reply
        return None


@dataclass
class ProbeServer:
    """The node's side of a probe stream, which may be kept open for several probes."""

    _parser: FrameParser = field(default_factory=lambda: FrameParser(MAX_PROBE_FRAME_BYTES))
    _served: int = 0

    def receive_data(self, data: bytes) -> list[ProbeFrame]:
        """Return the probes to answer, in order.

        Raises:
            ProtocolError: bytes that break the protocol, or more than 64 probes on one stream.
        """
        probes = [decode_frame(payload, PROBE_FRAMES) for payload in self._parser.feed(data)]
        self._served += len(probes)
        if self._served > MAX_PROBES_PER_STREAM:
            raise MalformedMessage(f"More than {MAX_PROBES_PER_STREAM} probes on one stream; open another.")
        return [probe for probe in probes if isinstance(probe, ProbeFrame)]
