"""An engine in a supervised child process: started, restarted with growing pauses, stopped."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from gpunode_protocol.tasks import Task

from gpunode_engines.base import (
    Engine,
    EngineInfo,
    Event,
    GenerateRequest,
    MeasuredSpeed,
    PreparableRequest,
    PreparedPrompt,
    PrepareRequest,
    WorkRequest,
)
from gpunode_engines.checks import check_generate
from gpunode_engines.child_link import OpenLink, open_link
from gpunode_engines.child_process import ChildProcess
from gpunode_engines.confinement import ORDINARY, SandboxPolicy
from gpunode_engines.denials import Denials
from gpunode_engines.errors import EngineLost, EngineNotReady, EngineStartFailed, EngineStopped
from gpunode_engines.fingerprint import fingerprint
from gpunode_engines.ipc import BackendOptions, Load
from gpunode_engines.limits import EngineLimits
from gpunode_engines.media_checks import check_media
from gpunode_engines.media_speed import measure_embedding, measure_image
from gpunode_engines.session import Session, open_session
from gpunode_engines.speech_speed import measure_speech
from gpunode_engines.speed import measure_speed

logger = logging.getLogger(__name__)

_MEASUREMENTS: Mapping[Task, Callable[[Engine], Awaitable[MeasuredSpeed]]] = {
    Task.LLM: measure_speed,
    Task.EMBEDDING: measure_embedding,
    Task.WHISPER: measure_speech,
    Task.IMAGE_GEN: measure_image,
}

_MAX_DOUBLINGS = 16
"""Keeps the pause a finite number, however often an engine fails; its cap is reached long before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnginePlan:
    """Everything that a child needs to load one model, and what the parent knows of the weights.

    root: the model's folder, absolute. files: absolute paths, in order. weights_digest: SHA-256, 32 bytes (see
    ``file_digests``). memory_bytes: estimate. sandbox: how the child is confined.
    """

    task: Task
    model: str
    backend: str
    root: str
    files: tuple[str, ...]
    weights_digest: bytes
    quantisation: str
    memory_bytes: int
    options: BackendOptions
    sandbox: SandboxPolicy = ORDINARY


ENVIRONMENTS: Final[Mapping[str, Mapping[str, str]]] = {
    # llama.cpp's threads meet some hundred times a token. Left to itself, GNU OpenMP has whoever waits look 300,000
    # times before it sleeps, and 1,000 times where it knows of more threads than processors; it knows of its own only.
    # Beside other programs a token took two to ten times as long so. Alone, one stream of a tiny model loses 2 to 5 %,
    # and eight, which have more to do in Python, gain as much. Not for torch, whose small steps lose a tenth by it.
    "llamacpp": {"GOMP_SPINCOUNT": "1000"},
    # A window of Whisper's is computed in arrays of some megabytes, which glibc gives back to the kernel as soon as
    # they are free and gets anew, zeroed, a moment later: 64,000 page faults and a third of the time for 30 s of audio
    # with whisper-tiny.en. So the child keeps what is free on top of its heap, up to 256 MiB.
    "faster-whisper": {
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(256 * 2**20),
    },
}
"""What a child's libraries read before anything of ours runs in it, by backend."""


class SupervisedEngine:
    """Implements ``Engine``; one child at a time."""

    def __init__(
        self,
        plan: EnginePlan,
        limits: EngineLimits | None = None,
        *,
        extra_environment: Mapping[str, str] | None = None,
        open_link: OpenLink = open_link,
    ) -> None:
        self._plan = plan
        self.limits = limits or EngineLimits()
        self._extra_environment = dict(extra_environment or {})
        self._open_link = open_link
        self._session: Session | None = None
        self._supervision: asyncio.Task[None] | None = None
        self._changed = asyncio.Condition()
        self._info: EngineInfo | None = None
        self._lost_by: EngineLost | None = None
        self._restarts = 0
        self._denials = Denials(plan.model)

    @property
    def info(self) -> EngineInfo:
        """See ``Engine``."""
        if self._info is None:
            raise EngineNotReady
        return self._info

    @property
    def healthy(self) -> bool:
        """See ``Engine``."""
        return self._session is not None and self._session.alive

    @property
    def restarts(self) -> int:
        """See ``Engine``."""
        return self._restarts

    @property
    def last_loss(self) -> EngineLost | None:
        """See ``Engine``."""
        return (self._session.cause if self._session is not None else None) or self._lost_by

    @property
    def denials(self) -> int:
        """See ``Engine``."""
        return self._denials.total

    @property
    def active_jobs(self) -> int:
        """See ``Engine``."""
        return len(self._session.jobs) if self._session else 0

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._session.pid if self._session else None

    async def start(self) -> EngineInfo:
        """See ``Engine``."""
        session = await self._open()
        self._info = _info(self._plan, session)
        _tell_what_is_missing(self._info)
        self._supervision = asyncio.create_task(self._supervise(session))
        await self._announce(session)
        return self._info

    async def stop(self) -> None:
        """See ``Engine``. A stop that was cancelled can be asked for again, and waits for what is still under way."""
        supervision = self._supervision
        if supervision is None:
            return
        if not supervision.cancelling():  # a second time would hit what ends the child
            supervision.cancel()
        await asyncio.wait({supervision})
        self._supervision = None
        if self._session is not None:  # cancelled before it took charge of this session
            self._session.fail(EngineStopped())
            await self._session.end()
        await self._announce(None)

    async def wait_healthy(self) -> None:
        """See ``Engine``. Raises EngineNotReady when the engine is stopped."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.healthy or self._supervision is None)
        self._ready()

    async def prepare(self, request: PreparableRequest) -> PreparedPrompt:
        """See ``Engine``."""
        session = self._ready()
        if not isinstance(request, PrepareRequest):
            check_media(request)
        return await session.prepare(request)

    async def generate(self, request: WorkRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        session = self._ready()
        if isinstance(request, GenerateRequest):
            check_generate(request, self.info.context_tokens)
        else:
            check_media(request)
        async with contextlib.aclosing(session.run(request)) as events:
            async for event in events:
                yield event

    async def cancel(self, job_key: str) -> None:
        """See ``Engine``."""
        if self._session is not None:
            self._session.cancel(job_key)

    async def measure_speed(self) -> MeasuredSpeed:
        """See ``Engine``."""
        return await _MEASUREMENTS[self.info.task](self)

    def _ready(self) -> Session:
        if self._session is not None and self._session.alive:
            return self._session
        cause = self._session.cause if self._session is not None else self._lost_by
        if cause is None or self._supervision is None or self._supervision.cancelling():
            raise EngineNotReady
        raise EngineNotReady(f"The engine is being restarted; try again in a moment. Why: {cause}") from cause

    async def _open(self) -> Session:
        plan = self._plan
        order = Load(
            task=plan.task,
            backend=plan.backend,
            model=plan.model,
            root=plan.root,
            files=plan.files,
            options=plan.options,
            sandbox=plan.sandbox,
            data_bytes=self.limits.data_bytes,
        )
        environment = dict(ENVIRONMENTS.get(plan.backend, {})) | self._extra_environment
        child = ChildProcess.spawn(
            environment, self._denials, self.limits.rss_bytes, plan.options.server, self._open_link
        )
        return await open_session(child, order, self.limits)

    async def _announce(self, session: Session | None) -> None:
        self._session = session  # before any await: ``stop`` must find it
        async with self._changed:
            self._changed.notify_all()

    async def _supervise(self, session: Session) -> None:
        """Wait for the child's loss, start another, and so on; ends the child when cancelled."""
        failures = 0
        clock = asyncio.get_running_loop().time
        while True:
            started_at = clock()
            try:
                cause = self._lost_by = await session.lost()
            finally:
                session.fail(EngineStopped())
                self._session = None
                await _end(session)
            failures = 1 if clock() - started_at > self.limits.stable_s else failures + 1
            logger.warning("engine lost: %s", cause, extra={"event": "engine_lost", "model": self._plan.model})
            session, failures = await self._reopen(failures)
            self._restarts += 1
            self._session = session
            logger.info("engine restarted", extra={"event": "engine_restarted", "restarts": self._restarts})
            await self._announce(session)

    async def _reopen(self, failures: int) -> tuple[Session, int]:
        """Try until a child runs; returns it and the number of failures in a row."""
        while True:
            doublings = min(failures - 1, _MAX_DOUBLINGS)
            pause_s = min(self.limits.backoff_s * 2**doublings, self.limits.backoff_max_s)
            await asyncio.sleep(pause_s)
            try:
                return await self._open(), failures
            except EngineStartFailed as error:
                failures += 1
                logger.warning("engine not restarted: %s", error, extra={"event": "engine_start_failed"})


async def _end(session: Session) -> None:
    """End a session, also when ``stop`` cancels the task that is at it."""
    ending = asyncio.create_task(session.end())
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


def _tell_what_is_missing(info: EngineInfo) -> None:
    if lacks := info.confinement.lacks():
        logger.warning(
            "%s runs without: %s. Serve only models that you trust, or use --sandbox strict",
            info.model,
            ", ".join(lacks),
            extra={"event": "engine_unconfined", "model": info.model, "level": info.confinement.level},
        )


def _info(plan: EnginePlan, session: Session) -> EngineInfo:
    loaded = session.loaded
    quantisation = loaded.quantisation or plan.quantisation
    return EngineInfo(
        task=plan.task,
        model=plan.model,
        backend=plan.backend,
        backend_version=loaded.backend_version,
        fingerprint=fingerprint(
            plan.weights_digest,
            quantisation,
            plan.options.chat_template,
            plan.backend,
            loaded.backend_version,
        ),
        weights_digest=plan.weights_digest,
        quantisation=quantisation,
        context_tokens=loaded.context_tokens,
        slots=loaded.slots,
        memory_bytes=plan.memory_bytes,
        device=loaded.device,
        image_side=loaded.image_side,
        confinement=loaded.confinement,
        abilities=loaded.abilities,
        needs_conversation=loaded.needs_conversation,
        saving=loaded.saving,
    )
