"""p2pd, and the way into the mesh, as a client takes it."""

import asyncio
from collections.abc import Sequence

from gpunode_protocol.diagnosis import Finding, failure, ok, skipped, warning
from gpunode_protocol.mesh import MeshState, MeshStatus
from gpunode_protocol.mesh.momentary import momentary_mesh
from gpunode_protocol.tracker_api import NetworkInfo
from pydantic import ValidationError

from gpunode._state import read_json
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import TrackerError, TrackerUnreachable

MESH_DEADLINE_S = 45.0
"""A bootstrap peer that is down is given up after 10 s; a slow machine needs as long to import hivemind."""
_OPEN_THE_WAY = "Let outgoing connections to these addresses pass, and ask the tracker's operator whether it is up."


def check_p2pd() -> Finding:
    """Start the libp2p daemon alone, and let it answer."""
    return judge_p2pd(asyncio.run(_status_after_start(())))


def judge_p2pd(status: MeshStatus) -> Finding:
    """Judge a mesh without bootstrap peers: being alone is no problem of its."""
    if status.state is MeshState.JOINED:
        return ok("Starts and answers.")
    return failure(f"Started, but does not work: {status.problem}", "Run 'gpunode --log-level debug chat' for its log.")


def check_mesh(facts: TrackerFacts) -> Finding:
    """Join the mesh as a client, with a key made for this moment."""
    if not facts.has_tracker:
        return skipped("No tracker is set whose network could be joined.")
    bootstrap = known_bootstrap(facts)
    if bootstrap is None:
        return skipped("The tracker gave no usable answer, and nothing is known of its network from before.")
    if not bootstrap:
        return skipped("The tracker names no bootstrap peer.")
    return judge_mesh(asyncio.run(_status_after_start(bootstrap)))


def judge_mesh(status: MeshStatus) -> Finding:
    """Judge where the mesh stands after its first attempt to join."""
    what, _, fix = status.problem.partition(". ")
    if not status.peers_known:
        return failure(f"{what}." if what else "No peer of the mesh answers.", _OPEN_THE_WAY)
    count = f"{status.peers_known} peer{'' if status.peers_known == 1 else 's'}"
    if status.problem:
        return warning(f"Joined, with {count} in sight. {what}.", fix)
    return ok(f"Joined, with {count} in sight.")


def known_bootstrap(facts: TrackerFacts) -> Sequence[str] | None:
    """Return the bootstrap addresses that the tracker names, or that it named in an earlier run; None = unknown.

    Raises:
        InvalidSettings: they cannot be used.
    """
    try:
        return facts.answer().info.bootstrap
    except (TrackerUnreachable, TrackerError):  # the check of the tracker tells why
        kept = read_json(facts.state()[1].network_path)
    try:
        return NetworkInfo.model_validate_json(kept).bootstrap if isinstance(kept, str) else None
    except ValidationError:
        return None


async def _status_after_start(bootstrap: Sequence[str]) -> MeshStatus:
    async with momentary_mesh(bootstrap=bootstrap) as mesh:
        await mesh.addresses()  # p2pd's own answer
        return mesh.status
