"""What `gpunode status` and `gpunode earnings` show, as plain data."""

import os
from importlib.metadata import version
from typing import Any

from gpunode_protocol.mesh import MeshStatus

from gpunode_node.gpu_use import idle_gpu_problems
from gpunode_node.model_status import engine_problems, model_status
from gpunode_node.node_parts import NodeParts
from gpunode_node.own_place import OwnPlace


async def status_of(parts: NodeParts, now: float) -> dict[str, Any]:
    """Return the node's state; ``now``: Unix seconds."""
    return {
        "mode": "mesh",
        "pid": os.getpid(),
        "peer_id": parts.identity.peer_id,
        "name": parts.settings.name,
        "version": version("gpunode"),
        "uptime_s": round(now - parts.started_at, 1),
        "network": parts.network.view.trust.network,
        **_place(parts.place),
        "draining": parts.intake.draining,
        "pause": parts.pause.to_map(),
        "problems": _problems(parts),
        "tracker": {"url": parts.settings.tracker, "problem": parts.link.problem},
        "mesh": _mesh(parts.membership.mesh.status) | {"reachable": parts.membership.reachability.reachable},
        "addresses": list(parts.addresses),
        "rtt_ms": parts.distances.rtt_ms,
        "announced": {"copies": parts.announcer.stored, "problem": parts.announcer.problem},
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in parts.machine.gpus],
        "gpu_readings": parts.care.to_map(),
        "power": parts.care.power,
        "models": [model_status(model) for model in parts.models],
        "jobs_unfinished": len(parts.registry.unfinished),
        "outbox": await parts.outbox.counts() | {"problem": parts.outbox.problem or parts.settler.problem},
    }


async def earnings_of(parts: NodeParts) -> dict[str, Any]:
    """Return what the node has earned.

    Raises:
        TrackerUnreachable, TrackerRefused: the balance is the tracker's to tell.
    """
    balance = await parts.link.balance()
    totals = await parts.outbox.totals()
    return {
        "account": balance.account,
        "spendable_microcredits": balance.spendable_microcredits,
        "paid_microcredits": sum(total.paid_microcredits for total in totals.values()),
        "settlements": {status: total.items for status, total in totals.items()},
        "outbox": await parts.outbox.counts(),
    }


def _place(place: OwnPlace) -> dict[str, Any]:
    position = place.position
    return {
        "region": place.region,
        "country": place.country,
        "latitude": position.latitude if position else None,
        "longitude": position.longitude if position else None,
    }


def _problems(parts: NodeParts) -> list[str]:
    """Return everything that its owner should look at."""
    problems = [
        parts.link.problem,
        parts.link.clock_problem,
        parts.link.key_problem,
        parts.link.place_problem,
        parts.link.watch.problem,
        parts.membership.mesh.status.problem,
        parts.announcer.problem,
        parts.outbox.problem,
        *parts.care.problems,
        parts.memory.problem,
        *idle_gpu_problems(parts.machine, parts.models, use_gpu=parts.settings.engine_gpu),
        *engine_problems(parts.models),
    ]
    return list(dict.fromkeys(problem for problem in problems if problem))


def _mesh(status: MeshStatus) -> dict[str, Any]:
    return {
        "state": status.state,
        "problem": status.problem,
        "peers_known": status.peers_known,
        "restarts": status.restarts,
        "clock_offset_s": status.clock_offset_s,
        "records_stored": status.records_stored,
        "records_rejected": dict(status.records_rejected),
    }
