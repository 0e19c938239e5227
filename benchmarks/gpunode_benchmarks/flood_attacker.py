"""The attacker of the flood bench: a peer with a p2pd of its own, both at a low priority: ``python -m … ORDER``.

ORDER is JSON: ``{"folder": path, "peer_id": …, "addresses": […], "nice": 0 to 19}``. When it has joined, ``run.json``
in the folder says so. On the socket ``orders.sock`` there, each line is an order:

- ``{"open": n, "limit_s": s}``: open n job streams to the peer; ``{"opened", "not_opened", "elapsed_s"}``;
- ``{"look": patience_s}``: ``{"open", "ended_with_reason", "ended_silently"}``: what has become of them;
- ``{"close": true}``: drop them all, ``{}``.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
from gpunode_protocol.framing import HEADER_BYTES, MAX_FRAME_BYTES
from gpunode_protocol.mesh import MeshConfig, create_mesh
from gpunode_protocol.messages import JOB_PROTOCOL

from gpunode_benchmarks.flood_streams import HUGE_HEADERS, StoresNothing, StreamFlood

SOCKET: Final = "orders.sock"
PAYLOADS: Final = (*HUGE_HEADERS, MAX_FRAME_BYTES.to_bytes(HEADER_BYTES, "big"), *(b"" for _ in range(7)))
"""Of ten streams two announce 2^62, one the longest frame that is allowed, and seven say nothing."""

_MEMORY_MAX_BYTES: Final = 4 * 1024**3
_AUTOGROUP_PAUSE_S: Final = 0.2
_AUTOGROUP_TRIES: Final = 25


class Orders:
    """Serves the socket."""

    def __init__(self, flood: StreamFlood, peer_id: str, addresses: Sequence[str]) -> None:
        self._flood = flood
        self._peer_id = peer_id
        self._addresses = addresses

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        while line := await reader.readline():
            writer.write(json.dumps(await self.obey(json.loads(line))).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        """Carry one order out."""
        if "open" in order:
            return await self._open(order["open"], order["limit_s"])
        if "look" in order:
            return await self._look(order["look"])
        self._flood.let_go()
        return {}

    async def _open(self, count: int, limit_s: float) -> dict[str, Any]:
        started_at = time.perf_counter()
        peer = await self._flood.dial(self._peer_id, self._addresses)
        await self._flood.open(peer, JOB_PROTOCOL, count, PAYLOADS, limit_s=limit_s)
        elapsed_s = time.perf_counter() - started_at
        return {"opened": len(self._flood.opened), "not_opened": self._flood.refused, "elapsed_s": elapsed_s}

    async def _look(self, patience_s: float) -> dict[str, Any]:
        answers = await self._flood.answers(patience_s)
        return {
            "open": answers.count(None),
            "ended_with_reason": sum(bool(answer) for answer in answers),
            "ended_silently": answers.count(b""),
        }


async def lower_priority(pid: int, nice: int) -> None:
    """Give a process a niceness, also where the kernel groups processes by session and compares the groups."""
    psutil.Process(pid).nice(nice)
    group = Path(f"/proc/{pid}/autogroup")  # man 7 sched
    for _ in range(_AUTOGROUP_TRIES if group.exists() else 0):
        try:
            group.write_text(str(nice), encoding="ascii")
        except BlockingIOError:  # the kernel takes ten a second, from everybody together
            await asyncio.sleep(_AUTOGROUP_PAUSE_S)
        else:
            return


async def attack(order: dict[str, Any]) -> None:
    """Join, say so, and do as told until a signal."""
    await lower_priority(os.getpid(), order["nice"])
    folder = Path(order["folder"])
    config = MeshConfig(
        identity_path=folder / "identity.key",
        state_dir=folder,
        listen_addresses=(),
        client_mode=True,
        quic=False,
        p2pd_memory_max_bytes=_MEMORY_MAX_BYTES,
    )
    mesh = create_mesh(config, StoresNothing())
    await mesh.start()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    try:
        for child in psutil.Process().children():
            await lower_priority(child.pid, order["nice"])
        orders = Orders(StreamFlood(mesh), order["peer_id"], order["addresses"])
        async with await asyncio.start_unix_server(orders.serve, str(folder / SOCKET)):
            draft = folder / "run.tmp"
            draft.write_text(json.dumps({"pid": os.getpid()}), encoding="utf-8")
            draft.rename(folder / "run.json")
            await ended.wait()
    finally:
        await mesh.stop()


if __name__ == "__main__":
    asyncio.run(attack(json.loads(sys.argv[1])))
