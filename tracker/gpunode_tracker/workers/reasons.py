"""Why a worker gets no job although some wait: counted, so that its owner knows what to change. Pure."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from gpunode._model_names import served_name

from gpunode_tracker.jobs.lanes import parts_of
from gpunode_tracker.workers.worker import StoredWorker


class Reason(StrEnum):
    """What keeps queued jobs from a worker."""

    MAINTENANCE = "maintenance"
    """It is in maintenance; what it could do otherwise counts."""
    CANNOT_SIGN = "tracker_cannot_sign"
    """The tracker has no signing key now, and the worker, which has a key, would not be paid."""
    HOLDS_ENOUGH = "holds_enough_jobs"
    """It holds as many as one worker may; what it could do otherwise counts."""
    FAILED_HERE = "failed_here_before"
    """It had them already: they are for other workers first."""
    TAKEN = "taken_by_others"
    """It could do them, but others were faster."""
    OTHER_TYPE = "type_not_supported"
    OTHER_REGION = "other_region"
    OTHER_MODEL = "model_not_served"


def obstacle(worker: StoredWorker, task: str, region: str | None, model: str | None) -> Reason | None:
    """Return why a worker cannot do a job, None if it can. region, model: None = any."""
    if task not in worker.supported_types:
        return Reason.OTHER_TYPE
    if region is not None and region != worker.region:
        return Reason.OTHER_REGION
    if model is not None and worker.models and served_name(model, worker.models) is None:
        return Reason.OTHER_MODEL
    return None


def serves(worker: StoredWorker, lane: str) -> bool:
    """Return whether a worker can do the jobs of a lane."""
    return obstacle(worker, *parts_of(lane)) is None


def reasons_for(
    worker: StoredWorker, queued: Mapping[str, int], *, failed_here: int = 0, blocked: Reason | None = None
) -> dict[str, int]:
    """Return for each reason how many queued jobs it keeps from a worker.

    Args:
        queued: how many wait in each lane, as of some seconds ago perhaps.
        failed_here: how many wait that it has had lately.
        blocked: why it gets none at all.
    """
    counts: Counter[Reason] = Counter()
    able = 0
    for lane, count in queued.items():
        reason = obstacle(worker, *parts_of(lane))
        if reason is None:
            able += count
        else:
            counts[reason] += count
    if blocked is not None:
        counts[blocked] += max(able, failed_here)
    else:
        counts[Reason.FAILED_HERE] += failed_here
        counts[Reason.TAKEN] += max(0, able - failed_here)
    return {str(reason): count for reason, count in counts.items() if count}
