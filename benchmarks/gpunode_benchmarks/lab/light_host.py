"""One light node on a host of the lab: in the DHT, announced, probed; it serves nothing (see ``light_nodes``)."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path

from gpunode_node.tracker_client import TrackerClient
from gpunode_protocol.adverts import ANNOUNCE_INTERVAL_S
from gpunode_protocol.mesh import PUBLIC_ADDRESSES
from gpunode_protocol.regions import Region

from gpunode_benchmarks.light_nodes import LightNodes

RUN_FILE = "run.json"
"""Has ``peer_id`` and ``region`` as soon as the node is announced."""


async def serve(url: str, region: str, folder: str) -> None:
    """Run the node until the process is ended. Called in the lab, so the arguments are JSON.

    Args:
        url: of the tracker.
        region: what it says that it is in.
        folder: its own, made when absent.

    Raises:
        BenchmarkFailed: it could not announce itself.
        GpunodeError: p2pd cannot be started, or the tracker refuses it.
    """
    home = Path(folder)
    home.mkdir(exist_ok=True)
    async with AsyncExitStack() as stack:
        tracker = TrackerClient(url)
        stack.push_async_callback(tracker.close)
        nodes = LightNodes(stack, home, tracker, await tracker.network(), [Region(region)], PUBLIC_ADDRESSES)
        await nodes.grow(1)
        peer_id = nodes.nodes[0].mesh.peer_id
        written = home / f"{RUN_FILE}.new"
        written.write_text(json.dumps({"peer_id": peer_id, "region": region}), encoding="utf-8")
        written.rename(home / RUN_FILE)
        while True:
            await asyncio.sleep(ANNOUNCE_INTERVAL_S)
            await nodes.announce()
