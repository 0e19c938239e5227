"""One model with its speed and its queue."""

import asyncio
from dataclasses import dataclass, field
from typing import assert_never

from gpunode_engines.base import Engine, EngineInfo, MeasuredSpeed
from gpunode_protocol.speed_words import speed_in_words
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
        catalogue_context_tokens: of the model as everybody may have it, ≥ 0; 0 = what the engine has is all there is.
    """

    name: str
    engine: Engine
    speed: MeasuredSpeed
    queue_limit: int = DEFAULT_QUEUE_LIMIT
    readiness: Readiness = field(default_factory=AlwaysReady)
    catalogue_context_tokens: int = 0
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
    def has_whole_context(self) -> bool:
        """Whether no other node has room for a longer prompt: memory or the owner may have cut the context here."""
        return self.info.context_tokens >= self.catalogue_context_tokens

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

    @property
    def rates(self) -> dict[str, float]:
        """The measured rates that the task has, by names that say the unit."""
        speed = self.speed
        match self.task:
            case Task.LLM:
                return {
                    "prefill_tokens_per_s": speed.prefill_tokens_per_s,
                    "decode_tokens_per_s": speed.decode_tokens_per_s,
                }
            case Task.EMBEDDING:
                return {"prefill_tokens_per_s": speed.prefill_tokens_per_s}
            case Task.IMAGE_GEN:
                return {"image_units_per_s": speed.decode_tokens_per_s}
            case Task.WHISPER:
                return {"audio_ms_per_s": speed.decode_tokens_per_s}
            case _:
                assert_never(self.task)

    @property
    def speed_words(self) -> str:
        """The measured speed for people, in the unit of the task."""
        speed = self.speed
        return speed_in_words(self.task, input_per_s=speed.prefill_tokens_per_s, output_per_s=speed.decode_tokens_per_s)
