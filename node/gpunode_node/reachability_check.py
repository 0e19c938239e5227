"""Whether strangers can connect to this node: its ports, and what peers see who dial back."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from gpunode_protocol.diagnosis import Finding, failure, ok, skipped, warning
from gpunode_protocol.mesh import MeshConfig, PortInUse, Reachability, require_free_ports
from gpunode_protocol.mesh.momentary import momentary_mesh

from gpunode_node.config import NodeSettings
from gpunode_node.doctor_facts import NodeFacts

_FORWARD = (
    "Forward a port in the router (TCP and UDP) and give it with --port, or give --announce-address. Until then the "
    "node is reached through relays, which is slower."
)
_NO_TRACKER = "No tracker is set, so it is not known where a node would listen."


def check_ports(facts: NodeFacts) -> Finding:
    """See whether the ports to listen on are free, or the running node's."""
    status = facts.status()
    if status is not None:
        return judge_own_ports(status)
    settings = facts.settings()
    if not settings.bootstrap:
        return skipped(_NO_TRACKER)
    try:
        require_free_ports(_mesh_config(facts, settings))
    except PortInUse as error:
        what, _, fix = str(error).partition(". ")
        return failure(f"{what}.", fix)
    where = ", ".join(settings.listen_addresses)
    if settings.listen or settings.port:
        return ok(f"Free: {where}.")
    return ok(f"Any free port will be taken ({where}); give one with --port to forward it in a router.")


def judge_own_ports(status: Mapping[str, Any]) -> Finding:
    """Judge where the running node listens, as its status says."""
    addresses = [address.partition("/p2p/")[0] for address in status["addresses"]]
    if not addresses:
        return failure("The running node listens nowhere.", "See its log, and start it again.")
    return ok(f"Held by the running node: {', '.join(addresses)}.")


def check_reachability(facts: NodeFacts) -> Finding:
    """Ask the running node what its peers found; if none runs, listen for a moment and ask peers to dial back."""
    status = facts.status()
    if status is not None:
        return judge_reachability(status["mesh"]["reachable"], ())
    settings = facts.settings()
    if not settings.bootstrap:
        return skipped(_NO_TRACKER)
    network = facts.network()
    if network is None or not network.bootstrap:
        return skipped("No bootstrap peer is known that could dial back: the tracker names none, or does not answer.")
    try:
        found = asyncio.run(_dialled_back(settings, network.bootstrap))
    except PortInUse:
        return skipped("The port is in use by another program.")
    return judge_reachability(found.reachable, found.observed_ips)


def judge_reachability(reachable: bool | None, observed_ips: Sequence[str]) -> Finding:
    """Judge what peers found who dialled back; None = nobody answered."""
    seen = f" at {', '.join(observed_ips)}" if observed_ips else ""
    if reachable is None:
        return warning(
            "No peer answered, so it is not known whether others can connect to this node.",
            "See the checks of tracker and mesh, and try again when they are well.",
        )
    if not reachable:
        return warning(f"Other peers cannot connect to this node{seen}.", _FORWARD)
    return ok(f"Other peers can connect to this node{seen}.")


async def _dialled_back(settings: NodeSettings, bootstrap: Sequence[str]) -> Reachability:
    async with momentary_mesh(bootstrap=bootstrap, listen=settings.listen_addresses, quic=settings.quic) as mesh:
        return await mesh.check_reachability()


def _mesh_config(facts: NodeFacts, settings: NodeSettings) -> MeshConfig:
    return MeshConfig(
        identity_path=facts.folder().identity, listen_addresses=settings.listen_addresses, quic=settings.quic
    )
