"""What `gpunode status` and `gpunode earnings` show of a pull worker, as plain data."""

import os
from importlib.metadata import version
from typing import Any

from gpunode_node.gpu_use import idle_gpu_problems
from gpunode_node.model_status import engine_problems, model_status
from gpunode_node.pull.parts import PullParts


async def status_of(parts: PullParts, now: float) -> dict[str, Any]:
    """Return the worker's state; ``now``: Unix seconds."""
    return {
        "mode": "pull",
        "pid": os.getpid(),
        "peer_id": parts.identity.peer_id,
        "worker_id": parts.link.worker_id,
        "name": parts.settings.name,
        "version": version("gpunode"),
        "uptime_s": round(now - parts.started_at, 1),
        "network": parts.network.view.trust.network,
        "region": parts.settings.region or parts.link.region,
        "country": parts.settings.country,
        "draining": parts.intake.draining,
        "pause": parts.pause.to_map(),
        "maintenance": parts.link.maintenance,
        "problems": _problems(parts),
        "tracker": {"url": parts.settings.tracker, "problem": parts.link.problem},
        "gpus": [{"name": gpu.name, "memory_bytes": gpu.memory_bytes} for gpu in parts.machine.gpus],
        "gpu_readings": parts.care.to_map(),
        "power": parts.care.power,
        "models": [model_status(model) for model in parts.models],
        "jobs_unfinished": parts.bench.running,
        "kept_away": parts.taker.reasons,
        "outbox": parts.outbox.counts() | {"problem": parts.outbox.problem or parts.courier.problem},
    }


async def earnings_of(parts: PullParts) -> dict[str, Any]:
    """Return what the worker was paid for the jobs that it ended, as the tracker said, and what that came to.

    Raises:
        TrackerUnreachable, TrackerRefused: the balance is the tracker's to tell.
    """
    balance = await parts.link.balance()
    totals = await parts.outbox.totals()
    return {
        "mode": "pull",
        "account": balance.account,
        "spendable_microcredits": balance.spendable_microcredits,
        "paid_microcredits": sum(total.paid_microcredits for total in totals.values()),
        "settlements": {status: total.jobs for status, total in totals.items()},
        "outbox": parts.outbox.counts(),
    }


def _problems(parts: PullParts) -> list[str]:
    """Return everything that its owner should look at."""
    problems = [
        parts.link.problem,
        parts.link.clock_problem,
        parts.link.key_problem,
        parts.courier.problem,
        parts.outbox.problem,
        *parts.care.problems,
        parts.memory.problem,
        *idle_gpu_problems(parts.machine, parts.models, use_gpu=parts.settings.engine_gpu),
        *engine_problems(parts.models),
    ]
    return list(dict.fromkeys(problem for problem in problems if problem))
