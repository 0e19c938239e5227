"""Dial-back: a peer asks another to connect to it, and so learns whether strangers can reach it.

Stream ``/gpunode/1/dialback``, one frame each way (4-byte big-endian length, one msgpack map):

* asker: ``{port, nonce}``, TCP port 1 to 65535 and 16 random bytes;
* observer: ``{nonce, reachable, observed}``; observed = the IP address at which it sees the asker, "" if relayed.

The observer connects only to that address, never to one that a message names, and only reads the 20 bytes
``/multistream/1.0.0`` with which every libp2p listener greets (https://github.com/multiformats/multistream-select).
"""

import asyncio
import contextlib
import ipaddress
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from gpunode_protocol.errors import GpunodeError, MalformedMessage
from gpunode_protocol.mesh.interface import MeshStream, Reachability
from gpunode_protocol.mesh.multiaddrs import ip_of
from gpunode_protocol.mesh.rate_limit import PeerRateLimit
from gpunode_protocol.safe_msgpack import pack, unpack

PROTOCOL = "/gpunode/1/dialback"
BANNER = b"\x13/multistream/1.0.0\n"
MAX_FRAME_BYTES = 256
CONNECT_TIMEOUT_S = 5.0
ANSWER_TIMEOUT_S = 8.0
REQUESTS_PER_S, REQUESTS_BURST = 0.1, 3.0
"""Per asking peer: whoever asks more gets no answer."""

_NONCE_BYTES = 16
_LENGTH_BYTES = 4
_MAX_PORT = 65535


async def answers_as_libp2p(ip: str, port: int, timeout_s: float = CONNECT_TIMEOUT_S) -> bool:
    """Whether a libp2p listener answers at an address within ``timeout_s`` seconds."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(ip, port)
            try:
                return await reader.readexactly(len(BANNER)) == BANNER
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, asyncio.IncompleteReadError):
        return False


async def ask(stream: MeshStream, port: int) -> tuple[bool, str]:
    """Ask the peer at the other end to dial back; return whether it could, and the IP address that it sees.

    Raises:
        GpunodeError: it gave no proper answer.
    """
    nonce = os.urandom(_NONCE_BYTES)
    await stream.write(encode_message({"nonce": nonce, "port": port}))
    answer = await _read_frame(stream)
    reachable, observed = answer.get("reachable"), answer.get("observed")
    if answer.get("nonce") != nonce or not isinstance(reachable, bool) or not isinstance(observed, str):
        raise MalformedMessage("A peer answered a dial-back request with something else.")
    return reachable, observed


class DialbackService:
    """Answers dial-back requests, a few per peer and minute.

    Args:
        clock_s: monotonic seconds.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._rate = PeerRateLimit(rate_per_s=REQUESTS_PER_S, burst=REQUESTS_BURST)

    async def serve(self, stream: MeshStream) -> None:
        """Answer one request; a bad one gets no answer."""
        if not self._rate.allow(stream.remote_peer_id, self._clock_s()):
            return
        with contextlib.suppress(TimeoutError, GpunodeError):
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                request = await _read_frame(stream)
                port, nonce = request.get("port"), request.get("nonce")
                if not isinstance(port, int) or not 0 < port <= _MAX_PORT or not isinstance(nonce, bytes):
                    return
                ip = ip_of(stream.remote_address) or ""
                reachable = bool(ip) and await answers_as_libp2p(ip, port)
                await stream.write(encode_message({"nonce": nonce, "observed": ip, "reachable": reachable}))


def judge(answers: Iterable[tuple[bool, str]], *, loopback_only: bool = False) -> Reachability:
    """Conclude from the answers of several peers: the majority decides, a tie counts as unreachable.

    loopback_only: the asker listens nowhere else, so a peer that sees it at another address of this machine, because it
    was dialled there, cannot tell whether those who find the asker's own addresses can connect.
    """
    answers = [answer for answer in answers if not loopback_only or answer[0] or _is_loopback(answer[1])]
    if not answers:
        return Reachability(reachable=None)
    reachable = sum(found for found, _ in answers)
    ips = Counter(ip for _, ip in answers if ip)
    return Reachability(
        reachable=2 * reachable > len(answers),
        observed_ips=tuple(ip for ip, _ in ips.most_common()),
        answers=len(answers),
    )


def _is_loopback(observed: str) -> bool:
    """Whether a peer that saw this address, "" if relayed, tried where the asker listens."""
    try:
        return not observed or ipaddress.ip_address(observed).is_loopback
    except ValueError:
        return False


def encode_message(body: dict[str, Any]) -> bytes:
    """Return a message's frame."""
    data = pack(body)
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


async def _read_frame(stream: MeshStream) -> dict[str, Any]:
    received = b""
    while (missing := _missing_bytes(received)) > 0:
        data = await stream.read(missing)
        if not data:
            raise MalformedMessage("The stream ended before the answer.")
        received += data
    return decode_message(received)


def decode_message(frame: bytes) -> dict[str, Any]:
    """Return what a whole frame says. Raises MalformedMessage."""
    value = unpack(frame[_LENGTH_BYTES:], max_depth=2)
    if not isinstance(value, dict):
        raise MalformedMessage("A dial-back frame does not hold a map.")
    return value


def _missing_bytes(received: bytes) -> int:
    if len(received) < _LENGTH_BYTES:
        return _LENGTH_BYTES - len(received)
    length = int.from_bytes(received[:_LENGTH_BYTES], "big")
    if length > MAX_FRAME_BYTES:
        raise MalformedMessage(f"A dial-back frame of {length} bytes was announced, {MAX_FRAME_BYTES} are allowed.")
    return _LENGTH_BYTES + length - len(received)
