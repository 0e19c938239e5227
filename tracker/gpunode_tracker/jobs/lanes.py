"""Lanes: queued jobs that exactly the same workers may take stand in one lane.

A worker looks at the heads of its few lanes only, each by one step into an index, however long the queue is.
"""

from collections.abc import Iterable

from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

ANY = "*"


def lane_of(task: Task, region: Region | None, model: str | None) -> str:
    """Return the lane of a job; None = any region, whatever model comes of the task."""
    return f"{task}/{region or ANY}/{model or ANY}"


def lanes_for(tasks: Iterable[Task], region: Region | None, models: Iterable[str]) -> tuple[str, ...]:
    """Return the lanes that somebody may take jobs from.

    Args:
        tasks: that it can do.
        region: where it is; None = nobody knows, so it gets no job of a region.
        models: that it serves. Jobs without a model are for everybody.
    """
    regions = (None,) if region is None else (None, region)
    return tuple(
        lane_of(task, place, model) for task in dict.fromkeys(tasks) for place in regions for model in (None, *models)
    )


def parts_of(lane: str) -> tuple[str, str | None, str | None]:
    """Return task, region and model of a lane; None = any."""
    task, region, model = lane.split("/", 2)
    return task, None if region == ANY else region, None if model == ANY else model
