"""Opens raw libp2p streams to a peer, as many as it is told, past all politeness of our own client, and holds them."""

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from gpunode_protocol.mesh import Mesh, RecordRejected, ValidRecord
from gpunode_protocol.mesh._hivemind_api import PeerID

OPEN_DEADLINE_S: Final = 20.0
OPENS_AT_ONCE: Final = 64
HUGE_HEADERS: Final = ((2**62).to_bytes(8, "big") + bytes(64), b"\xff" * 8 + b"\x3f" + bytes(64))
"""A length of 2^62 as our frames and hivemind's streams would read it, and as p2pd and libp2p would (varint)."""

Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class StoresNothing:
    """A validator for a peer that only opens streams."""

    def validate(self, key: str, subkey: str, value: bytes, expires_at: float, now: float) -> ValidRecord:  # noqa: ARG002 -- the validator's signature
        """Refuse every record."""
        raise RecordRejected("not_wanted")


@dataclass
class StreamFlood:
    """Streams that are held. Its peer's own p2pd is no longer guarded, so that it can keep what it floods with.

    mesh: started. opened: the streams. refused: how many could not even be opened.
    """

    mesh: Mesh
    opened: list[Opened] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        """End the guard."""
        backend: Any = self.mesh  # below its interface, which has no room for bad manners
        backend._guarding.cancel()  # noqa: SLF001 -- likewise
        self._keeper = backend._keeper  # noqa: SLF001 -- likewise

    async def dial(self, peer_id: str, addresses: Sequence[str]) -> PeerID:
        """Connect to a peer at its multiaddrs; return its id."""
        peer = PeerID.from_base58(peer_id)
        transports = [address.partition("/p2p/")[0] for address in addresses]
        await self._keeper.link.p2p.dial(peer, transports, OPEN_DEADLINE_S)
        return peer

    async def open(
        self, peer: PeerID, protocol: str, count: int, payloads: Sequence[bytes] = (), *, limit_s: float | None = None
    ) -> None:
        """Open so many streams and hold them all.

        Args:
            peer: who gets them, dialled before.
            protocol: of the streams.
            count: how many.
            payloads: what is written to them in turn; none, or an empty one: nothing.
            limit_s: what is not open after so many seconds counts as refused.
        """
        gate = asyncio.Semaphore(OPENS_AT_ONCE)
        before = len(self.opened)

        async def one(number: int) -> None:
            async with gate:
                with contextlib.suppress(Exception):  # however the victim keeps an attacker out
                    _, reader, writer = await self._keeper.link.p2p.open(peer, protocol, OPEN_DEADLINE_S)
                    self.opened.append((reader, writer))
                    if payloads and (payload := payloads[number % len(payloads)]):
                        writer.write(payload)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await asyncio.gather(*(one(number) for number in range(count)))
        self.refused += count - (len(self.opened) - before)

    async def answers(self, patience_s: float) -> list[bytes | None]:
        """Return what each held stream brings up to its end; None where that is not there after ``patience_s``."""

        async def read(reader: asyncio.StreamReader) -> bytes | None:
            try:
                async with asyncio.timeout(patience_s):
                    return await reader.read()
            except TimeoutError:
                return None
            except OSError:
                return b""

        return await asyncio.gather(*(read(reader) for reader, _ in self.opened))

    def let_go(self) -> None:
        """Drop all held streams."""
        for _, writer in self.opened:
            writer.transport.abort()
        self.opened.clear()
