"""A client that knows nodes and has a grant, but no connection to any of them, as in a large network."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from gpunode import AsyncInferenceClient
from gpunode._finder import Finder, Placement
from gpunode._placing import Demand
from gpunode_protocol.identity import PeerId
from gpunode_protocol.mesh._hivemind import HivemindMesh
from gpunode_protocol.tasks import Task

from gpunode_benchmarks.errors import BenchmarkFailed

_TRIES: Final = 50
_PAUSE_S: Final = 0.1
"""While its routing table is filled, p2pd connects again."""


@asynccontextmanager
async def unacquainted(client: dict[str, Any], model: str, nodes: int) -> AsyncIterator[AsyncInferenceClient]:
    """Yield such a client.

    Args:
        client: arguments of ``AsyncInferenceClient``, with a state folder of its own.
        model: what it knows nodes of.
        nodes: how many there are.

    Raises:
        BenchmarkFailed: not all nodes were found, or they did not stay disconnected.
    """
    async with AsyncInferenceClient(**client) as asking:
        session = asking._session  # noqa: SLF001 -- users cannot put a client into this state, only time does
        ready = await session.ready()
        await ready.grants.get(Task.LLM)
        placement = await session._placement(Demand(Task.LLM, model))  # noqa: SLF001 -- as above
        found = await _known(ready.finder, placement, nodes)
        await _drop(cast(HivemindMesh, ready.mesh), found)
        yield asking


async def _known(finder: Finder, placement: Placement, nodes: int) -> set[PeerId]:
    """Look for nodes, without asking them, until there are enough."""
    found: set[PeerId] = set()
    for _ in range(_TRIES):
        await finder.look_up(placement)
        found = finder.known(placement)
        if len(found) >= nodes:
            return found
        await asyncio.sleep(_PAUSE_S)
    raise BenchmarkFailed(f"Only {len(found)} of {nodes} nodes were found. Run it again.")


async def _drop(mesh: HivemindMesh, nodes: set[PeerId]) -> None:
    """Close all connections to the nodes."""
    for _ in range(_TRIES):
        for node in nodes:
            await mesh._disconnect(node)  # noqa: SLF001 -- users cannot
        if nodes.isdisjoint(await mesh.connected_peers()):
            return
        await asyncio.sleep(_PAUSE_S)
    raise BenchmarkFailed("The nodes were connected again and again. Run it again.")
