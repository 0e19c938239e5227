"""An engine without a model, in process, whose every step a test controls.

A token is one UTF-8 byte and its id is that byte; the answer is a
fixed text or, without one, a text that repeats the prompt until max_tokens. Stops, limits, resume and slots follow the
``Engine`` contract with the code that the real engine uses.
"""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncGenerator, Iterator

from gpunode_engines.abilities import ALL_ABILITIES
from gpunode_engines.base import (
    EngineInfo,
    Event,
    Finished,
    FinishReason,
    GenerateRequest,
    MeasuredSpeed,
    PreparedPrompt,
    PrepareRequest,
    Tokens,
)
from gpunode_engines.checks import check_generate
from gpunode_engines.confinement import Confinement
from gpunode_engines.errors import (
    EngineCrashed,
    EngineError,
    EngineLost,
    EngineNotReady,
    EngineStopped,
    InvalidParameters,
    TimeLimit,
)
from gpunode_engines.job_table import Job, JobTable
from gpunode_engines.text_assembly import TextAssembler
from gpunode_protocol.tasks import Task

_MAX_OUTPUT_BYTES = 100 * 1024**2


class FakeEngine:
    """Implements ``Engine`` for unit tests.

    Args:
        answer: text of every answer; None = repeat the prompt.
        context_tokens, slots, device: as in ``EngineInfo``.
        tokens_per_s: pace of each stream; None = as fast as possible.
        stepped: produce a token only for each call of ``step``.
    """

    def __init__(
        self,
        *,
        answer: str | None = None,
        context_tokens: int = 4096,
        slots: int = 4,
        tokens_per_s: float | None = None,
        stepped: bool = False,
        model: str = "fake",
        device: str = "cpu",
    ) -> None:
        self._answer = answer
        self._pause_s = None if tokens_per_s is None else 1 / tokens_per_s
        self._permits = asyncio.Semaphore(0) if stepped else None
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._jobs = JobTable(slots)
        self._producers: set[asyncio.Task[None]] = set()
        self._started = False
        self.loss: EngineLost | None = None
        self._restarts = 0
        self._info = EngineInfo(
            abilities=ALL_ABILITIES,
            confinement=Confinement(no_new_privileges=True, files=True),
            task=Task.LLM,
            model=model,
            backend="fake",
            backend_version="0",
            fingerprint=hashlib.sha256(b"fake engine for unit tests" + model.encode()).digest(),
            weights_digest=bytes(32),
            quantisation="none",
            context_tokens=context_tokens,
            slots=slots,
            memory_bytes=0,
            device=device,
        )

    @property
    def info(self) -> EngineInfo:
        """See ``Engine``."""
        if not self._started:
            raise EngineNotReady
        return self._info

    @property
    def healthy(self) -> bool:
        """See ``Engine``."""
        return self._started

    @property
    def restarts(self) -> int:
        """See ``Engine``."""
        return self._restarts

    @property
    def last_loss(self) -> EngineLost | None:
        """See ``Engine``; what a test has set."""
        return self.loss

    @property
    def denials(self) -> int:
        """Nothing is refused."""
        return 0

    @property
    def active_jobs(self) -> int:
        """See ``Engine``."""
        return len(self._jobs)

    async def start(self) -> EngineInfo:
        """See ``Engine``."""
        self._started = True
        return self._info

    async def stop(self) -> None:
        """See ``Engine``."""
        self._started = False
        await self._lose(EngineStopped())

    async def wait_healthy(self) -> None:
        """See ``Engine``."""
        _ = self.info

    async def prepare(self, request: PrepareRequest) -> PreparedPrompt:
        """See ``Engine``."""
        _ = self.info
        if not request.messages:
            raise InvalidParameters("There are no messages; send at least one.")
        rendered = "".join(f"{message.role}: {message.content}\n" for message in request.messages).encode()
        return PreparedPrompt(token_ids=tuple(rendered), rendered=rendered)

    async def generate(self, request: GenerateRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        check_generate(request, self.info.context_tokens)
        loop = asyncio.get_running_loop()
        job = Job(request.job_key, loop.time(), _MAX_OUTPUT_BYTES)
        self._jobs.add(job)
        timer = loop.call_later(request.deadline_s, job.fail, TimeLimit()) if request.deadline_s else None
        producer = asyncio.create_task(self._produce(request, job))
        self._producers.add(producer)
        producer.add_done_callback(self._producers.discard)
        try:
            while True:
                event = await job.next_event()
                yield event
                if isinstance(event, Finished):
                    break
        finally:
            if timer is not None:
                timer.cancel()
            producer.cancel()
            self._jobs.confirm(job.key)

    async def cancel(self, job_key: str) -> None:
        """See ``Engine``."""
        if (job := self._jobs.get(job_key)) is not None:
            job.cancelled_at = asyncio.get_running_loop().time()
            if self._permits is not None:
                self._permits.release()  # let a stepped job notice

    async def measure_speed(self) -> MeasuredSpeed:
        """See ``Engine``; the figures are the configured pace, or 1,000 tokens/s."""
        pace = 1000.0 if self._pause_s is None else 1 / self._pause_s
        return MeasuredSpeed(
            prefill_tokens_per_s=pace, decode_tokens_per_s=pace, ttft_s=1 / pace, prompt_tokens=1, output_tokens=1
        )

    def step(self, tokens: int = 1) -> None:
        """Let ``stepped`` jobs produce so many tokens, together."""
        if self._permits is None:
            raise ValueError("This fake engine is not stepped.")
        for _ in range(tokens):
            self._permits.release()

    def hang(self) -> None:
        """Produce nothing until ``go_on``."""
        self._flowing.clear()

    def go_on(self) -> None:
        """End a ``hang``."""
        self._flowing.set()

    async def crash(self, cause: EngineError | None = None) -> None:
        """Fail all jobs in flight as a lost child does, and be healthy again."""
        await self._lose(cause or EngineCrashed("The engine's process ended unexpectedly (a test asked for it)."))
        self._restarts += 1

    def emit(self, job_key: str, event: Event) -> None:
        """Deliver an event of the test's choice to a job in flight. Raises KeyError when there is no such job."""
        job = self._jobs.get(job_key)
        if job is None:
            raise KeyError(job_key)
        job.deliver(event)

    async def _lose(self, cause: EngineError) -> None:
        for producer in tuple(self._producers):
            producer.cancel()
        self._jobs.fail_all(cause)
        await asyncio.gather(*self._producers, return_exceptions=True)

    async def _produce(self, request: GenerateRequest, job: Job) -> None:
        text = TextAssembler(request.stop)
        sent = 0
        reason: FinishReason | None = None
        try:
            unseen = text.replay((bytes([token_id]) for token_id in request.resume_ids), request.text_offset)
            if unseen:
                job.deliver(Tokens(ids=(), text=unseen))
            for token_id in self._answer_ids(request):
                if text.stopped or sent == request.max_tokens:
                    break
                await self._wait_for_turn()
                if job.cancelled_at is not None:
                    reason = "cancelled"
                    break
                sent += 1
                job.deliver(Tokens(ids=(token_id,), text=text.push(bytes([token_id]))))
        except EngineError as error:
            job.fail(error)
            return
        if reason is None:
            reason = "length" if sent == request.max_tokens and not text.stopped else "stop"
            if rest := text.finish():
                job.deliver(Tokens(ids=(), text=rest))
        job.deliver(Finished(reason=reason, prompt_tokens=len(request.prompt_ids), output_tokens=sent))

    def _answer_ids(self, request: GenerateRequest) -> Iterator[int]:
        """Return the ids that follow those which the client has already."""
        ids: Iterator[int] = (
            itertools.cycle(request.prompt_ids) if self._answer is None else iter(self._answer.encode())
        )
        return itertools.islice(ids, len(request.resume_ids), None)

    async def _wait_for_turn(self) -> None:
        await self._flowing.wait()
        if self._permits is not None:
            await self._permits.acquire()
        # Also without a pace, let other tasks run between two tokens.
        await asyncio.sleep(self._pause_s or 0)
