"""An engine of images, speech or embeddings without a model: it gives the events that a test wrote down."""

import hashlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

from gpunode_engines.base import EngineInfo, Event, MeasuredSpeed, PreparedPrompt
from gpunode_engines.errors import EngineError, EngineLost
from gpunode_engines.media import MediaRequest
from gpunode_protocol.tasks import Task


@dataclass
class FakeMediaEngine:
    """Implements what a node uses of ``Engine``. refuse: what ``prepare`` raises. asked: what came."""

    task: Task
    events: Sequence[Event]
    prompt_tokens: int = 0
    refuse: EngineError | None = None
    healthy: bool = True
    last_loss: EngineLost | None = None
    asked: list[MediaRequest] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.info = EngineInfo(
            task=self.task,
            model="fake",
            backend="fake",
            backend_version="0",
            fingerprint=hashlib.sha256(b"fake").digest(),
            weights_digest=bytes(32),
            quantisation="none",
            context_tokens=0,
            slots=1,
            memory_bytes=0,
            device="cpu",
        )

    async def start(self) -> EngineInfo:
        """See ``Engine``."""
        return self.info

    async def stop(self) -> None:
        """See ``Engine``."""

    async def measure_speed(self) -> MeasuredSpeed:
        """See ``Engine``; figures are made up for the scheduler's sake."""
        return MeasuredSpeed(
            prefill_tokens_per_s=1000, decode_tokens_per_s=1000, ttft_s=0.1, prompt_tokens=1, output_tokens=1
        )

    async def prepare(self, _: MediaRequest) -> PreparedPrompt:
        """See ``Engine``."""
        if self.refuse is not None:
            raise self.refuse
        return PreparedPrompt(token_ids=(1,) * self.prompt_tokens, rendered=b"")

    async def generate(self, request: MediaRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        self.asked.append(request)
        for event in self.events:
            yield event
