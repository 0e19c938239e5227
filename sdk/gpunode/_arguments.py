"""What callers name in words, and what they are told of nodes."""

from collections.abc import Collection

from gpunode_protocol.regions import Region
from gpunode_protocol.speed_words import speed_in_words
from gpunode_protocol.tasks import Task

from gpunode._cost import JobSize
from gpunode._selection import Choice
from gpunode.errors import InvalidRequest
from gpunode.types import NodeInfo


def to_region(value: Region | str | None) -> Region | None:
    """Return a region by its name. Raises InvalidRequest, listing what there is."""
    try:
        return None if value is None else Region(value)
    except ValueError:
        raise InvalidRequest(f"There is no region {value!r}; the regions are {', '.join(Region)}.") from None


def to_task(value: Task | str) -> Task:
    """Return a task by its name. Raises InvalidRequest, listing what there is."""
    try:
        return Task(value)
    except ValueError:
        raise InvalidRequest(f"There is no task {value!r}; the tasks are {', '.join(Task)}.") from None


def to_size(input_units: int | None, output_units: int | None) -> JobSize | None:
    """Return the size of a job that is not there yet; None: nothing is said of it. Raises InvalidRequest."""
    if input_units is None and output_units is None:
        return None
    usual = JobSize()
    size = JobSize(
        usual.input_units if input_units is None else input_units,
        usual.output_units if output_units is None else output_units,
    )
    if min(size.input_units, size.output_units) < 0:
        raise InvalidRequest("A job's size cannot be negative.")
    return size


def node_info(choice: Choice, doubtful: Collection[str]) -> NodeInfo:
    """Return what a caller is told of a node. doubtful: nodes whose stated place is."""
    body, probe = choice.candidate.body, choice.probe
    speed = body.model.speed
    input_per_s, output_per_s = speed.input_milliunits_per_s / 1000, speed.output_milliunits_per_s / 1000
    gpu = f"{body.gpu.count} x {body.gpu.model}" if body.gpu.count else "CPU"
    return NodeInfo(
        node=body.peer,
        region=body.region.value,
        country=body.country,
        model=body.model.name,
        gpu=gpu,
        speed=speed_in_words(body.model.task, input_per_s=input_per_s, output_per_s=output_per_s),
        tokens_per_s={Task.LLM: output_per_s, Task.EMBEDDING: input_per_s}.get(body.model.task),
        context=body.model.context,
        path=body.path,
        source=choice.candidate.source,
        rtt_ms=probe.rtt_ms if probe else None,
        active=probe.active if probe else None,
        queued=probe.queued if probe else None,
        slots=probe.slots if probe else None,
        place_doubtful=body.peer in doubtful,
    )
