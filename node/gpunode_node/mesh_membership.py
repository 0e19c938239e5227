"""Joining the mesh: as a full member where others can reach this node, else as a client behind relays."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gpunode_protocol.mesh import Mesh, MeshConfig, MeshError, MeshState, Reachability, StreamHandler

logger = logging.getLogger(__name__)

JOIN_LOOK_S = 60.0
"""A wait for joining is renewed after this long; the mesh itself tries every few seconds."""

CreateMesh = Callable[[MeshConfig], Mesh]


@dataclass
class MeshMembership:
    """The running mesh, and what others say of its reachability."""

    mesh: Mesh
    reachability: Reachability


async def join_mesh(create: CreateMesh, config: MeshConfig, handlers: Mapping[str, StreamHandler]) -> MeshMembership:
    """Start the mesh, serve the handlers' protocols, and have peers dial back before anything is advertised.

    A node that nobody can reach starts again as a DHT client that is reached through relays: as a server it would
    make keys unreachable. Without an answer (no peers yet) it stays a full member.

    Raises:
        PortInUse, P2pdFailed: p2pd cannot be started. IdentityFileError: the key cannot be used.
    """
    mesh = await _started(create(config), handlers)
    reachability = await _checked(mesh)
    if reachability.reachable is not False:
        return MeshMembership(mesh, reachability)
    logger.warning(
        "other peers cannot connect to this node; it will be reached through relays. Forward its port, or give "
        "--announce-address, to be reached directly.",
        extra={"event": "not_reachable", "observed": list(reachability.observed_ips)},
    )
    await mesh.stop()
    hidden = replace(config, client_mode=True, use_auto_relay=True, force_reachability="private", nat_port_map=True)
    return MeshMembership(await _started(create(hidden), handlers), reachability)


async def after_joining(mesh: Mesh, then: Callable[[], None]) -> None:
    """Wait until a mesh that started without a bootstrap peer has joined, then call ``then``; else do nothing."""
    if mesh.status.state is MeshState.JOINED:
        return
    while not await mesh.wait_joined(JOIN_LOOK_S):
        pass
    then()


async def wait_for_peers(mesh: Mesh, timeout_s: float) -> None:
    """Wait until the mesh knows a peer, at most ``timeout_s``: p2pd may just have been started again."""
    if not mesh.status.peers_known:
        await mesh.wait_joined(timeout_s)


async def _started(mesh: Mesh, handlers: Mapping[str, StreamHandler]) -> Mesh:
    for protocol, handler in handlers.items():
        await mesh.serve(protocol, handler)
    await mesh.start()
    return mesh


async def _checked(mesh: Mesh) -> Reachability:
    try:
        return await mesh.check_reachability()
    except MeshError as error:
        logger.warning("reachability is not known: %s", error, extra={"event": "reachability_unknown"})
        return Reachability(reachable=None)
