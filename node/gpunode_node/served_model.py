"""One model with its speed and its queue."""

import asyncio
from dataclasses import dataclass, field

from gpunode_engines.base import Engine, EngineInfo, MeasuredSpeed
from gpunode_protocol.tasks import Task

from gpunode_node.scheduler import AlwaysReady, Readiness, Scheduler

DEFAULT_QUEUE_LIMIT = 16


@dataclass(eq=False)
class ServedModel:
    """What the network calls ``name``: a started engine, its measured speed and the queue in front of it.

    Args:
        name: as advertised and as requests name it.
        engine: started; whoever made it stops it.
        speed: measured on the idle engine.
        queue_limit: jobs that may wait, >= 0.
        readiness: whether the engine is in memory.
    """

    name: str
    engine: Engine
    speed: MeasuredSpeed
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    readiness: Readiness = field(default_factory=AlwaysReady)
    scheduler: Scheduler = field(init=False)

    def __post_init__(self) -> None:
        """Make the queue."""
        self.scheduler = Scheduler(
            slots=self.engine.info.slots,
            queue_limit=self.queue_limit,
            input_units_per_s=self.speed.prefill_tokens_per_s,
            output_units_per_s=self.speed.decode_tokens_per_s,
            readiness=self.readiness,
        )

    def engine_changed(self) -> None:
        """Tell the queue that the engine was loaded, unloaded, or loaded with less."""
        self.scheduler.engine_changed(self.info.slots, asyncio.get_running_loop().time())

    @property
    def waits_for_memory(self) -> bool:
        """Whether the next job has to wait until the model is loaded."""
        return self.readiness.wait_s() > 0

    @property
    def info(self) -> EngineInfo:
        """What the engine says of itself."""
        return self.engine.info

    @property
    def task(self) -> Task:
        """The task that it serves."""
        return self.engine.info.task
