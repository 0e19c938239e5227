"""The conversation with one living child: load, calls, jobs, heartbeat, limits. It ends once, with one cause."""

import asyncio
import itertools
import logging
from collections.abc import AsyncGenerator, Coroutine
from typing import Any, assert_never

from gpunode_protocol.errors import FrameTooLong, ProtocolError

from gpunode_engines.base import Event, Finished, PreparableRequest, PreparedPrompt, WorkRequest
from gpunode_engines.child_process import ChildProcess
from gpunode_engines.errors import (
    EngineCrashed,
    EngineError,
    EngineHung,
    EngineLost,
    EngineStartFailed,
    InvalidParameters,
    MemoryLimit,
    OutputLimit,
    ScratchLimit,
    engine_error_named,
)
from gpunode_engines.ipc import (
    CallFailure,
    Cancel,
    ChildMessage,
    Denied,
    Generate,
    JobEvent,
    JobFailure,
    Load,
    Loaded,
    LoadFailed,
    ParentMessage,
    Ping,
    Pong,
    Prepare,
    Prepared,
)
from gpunode_engines.job_deadline import JobDeadline
from gpunode_engines.job_table import Job, JobTable
from gpunode_engines.limits import EngineLimits
from gpunode_engines.load_watch import first_answer

logger = logging.getLogger(__name__)

_MAX_ACT_CHARACTERS = 100
_MAX_WORDS_CHARACTERS = 2_000
"""Of an error that a child reports: it goes into logs and to clients, and a child is not trusted."""


class Session:
    """Owns a child process. ``end`` must be awaited; it ends the child too."""

    def __init__(self, child: ChildProcess, loaded: Loaded, limits: EngineLimits) -> None:
        self.loaded = loaded
        self.jobs = JobTable(loaded.slots)
        self._child = child
        self._limits = limits
        self._clock = asyncio.get_running_loop().time
        self._last_heard_at = self._clock()
        self._calls: dict[int, asyncio.Future[PreparedPrompt]] = {}
        self._call_numbers = itertools.count(1)
        self._cause: asyncio.Future[EngineLost] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(part()) for part in (self._read, self._watch, self._watch_scratch)]

    @classmethod
    async def open(cls, child: ChildProcess, order: Load, limits: EngineLimits) -> "Session":
        """Have a fresh child load its model. The caller ends the child when this raises.

        Raises:
            EngineStartFailed: with the cause.
        """
        try:
            async with asyncio.timeout(limits.load_s):
                answer = await first_answer(child, order, limits)
        except TimeoutError as error:
            raise EngineStartFailed(f"{order.model} was not loaded within {limits.load_s:g} s.") from error
        except (OSError, EOFError, ProtocolError) as error:
            how = await child.wait() if isinstance(error, OSError | EOFError) else str(error)
            if child.passed_memory_limit:
                how = f"out of memory: {limits.rss_bytes >> 20} MiB are allowed"
            words = f": {child.last_words}" if child.last_words else ""
            raise EngineStartFailed(f"The engine ended while it loaded {order.model} ({how}){words}.") from error
        match answer:
            case Loaded():
                return cls(child, answer, limits)
            case LoadFailed(message=message):
                raise EngineStartFailed(message[:_MAX_WORDS_CHARACTERS])
            case _:
                raise EngineStartFailed(f"The engine answered {answer.type} instead of loading {order.model}.")

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the child has not been lost yet."""
        return not self._cause.done()

    @property
    def cause(self) -> EngineLost | None:
        """Why the child was lost, None while it is not."""
        return self._cause.result() if self._cause.done() else None

    async def lost(self) -> EngineLost:
        """Wait until the session is over and return why. Jobs and calls have been failed with it by then."""
        return await asyncio.shield(self._cause)

    def fail(self, cause: EngineLost) -> None:
        """Declare the child lost. The first cause counts."""
        if self._cause.done():
            return
        self._cause.set_result(cause)
        self.jobs.fail_all(cause)
        for call in self._calls.values():
            if not call.done():
                call.set_exception(cause.copy())

    async def end(self) -> None:
        """End the tasks and the child."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._child.end()

    async def prepare(self, request: PreparableRequest) -> PreparedPrompt:
        """Have the child render and tokenise."""
        number = next(self._call_numbers)
        call: asyncio.Future[PreparedPrompt] = asyncio.get_running_loop().create_future()
        self._calls[number] = call
        try:
            await self._send(Prepare(call=number, request=request))
            async with asyncio.timeout(self._limits.stall_s):
                return await call
        except TimeoutError as error:
            self.fail(EngineHung(f"A prompt took longer than {self._limits.stall_s:g} s; the engine was restarted."))
            raise await self.lost() from error
        finally:
            del self._calls[number]

    async def run(self, request: WorkRequest) -> AsyncGenerator[Event, None]:
        """Run a job; see ``Engine.generate``."""
        job = Job(request.job_key, self._clock(), self._limits.output_bytes)
        self._raise_if_lost()
        self.jobs.add(job)
        limit_s = min(self._limits.job_s, request.deadline_s or self._limits.job_s)
        deadline = JobDeadline(request, limit_s, job.fail)
        try:
            try:
                await self._send(Generate(request=request))
            except EngineError:
                self.jobs.confirm(job.key)  # the child has not heard of it
                raise
            while True:
                event = await job.next_event()
                deadline.note(event)
                yield event
                if isinstance(event, Finished):
                    break
        finally:
            deadline.cancel()
            self.cancel(job.key)
            await job.confirmed.wait()  # the watchdog bounds how long that takes

    def cancel(self, job_key: str) -> None:
        """Ask the child to end a job that it has not ended yet."""
        job = self.jobs.get(job_key)
        if job is not None and job.cancelled_at is None:
            job.cancelled_at = self._clock()
            self._child.channel.post(Cancel(job_key=job_key))

    async def _send(self, message: ParentMessage) -> None:
        self._raise_if_lost()
        try:
            await self._child.channel.send(message)
        except OSError:
            raise await self._crashed() from None
        except FrameTooLong as error:
            raise InvalidParameters(f"The request is too large: {error}") from error
        except (UnicodeError, OverflowError) as error:
            raise InvalidParameters("The request has half a character, or a number beyond 64 bits, in it.") from error

    def _raise_if_lost(self) -> None:
        if self._cause.done():
            raise self._cause.result().copy()

    async def _crashed(self) -> EngineLost:
        """Declare the child crashed, once it has ended, and return the cause that counts."""
        how = await self._child.wait()
        if self._child.passed_memory_limit:
            self.fail(
                MemoryLimit(
                    f"The engine wanted more than the {self._limits.rss_bytes >> 20} MiB of memory that are allowed; "
                    "it was restarted. Lower its slots or context."
                )
            )
            return await self.lost()
        self.fail(EngineCrashed(f"The engine's process ended unexpectedly ({how}); the job can be sent again."))
        return await self.lost()

    async def _read(self) -> None:
        while True:
            try:
                message = await self._child.channel.receive()
            except ProtocolError as error:
                self.fail(EngineCrashed(f"The engine sent something unreadable and was restarted: {error}"))
                return
            except (OSError, EOFError):
                await self._crashed()
                return
            self._last_heard_at = self._clock()
            self._handle(message)

    def _handle(self, message: ChildMessage) -> None:
        match message:
            case Pong():
                pass
            case Denied(act=act):
                self._child.denials.record(act[:_MAX_ACT_CHARACTERS])
            case JobEvent(job_key=key, event=event):
                self._deliver(key, event)
            case JobFailure(job_key=key, error=name, message=text):
                if (job := self.jobs.get(key)) is not None:
                    job.fail(engine_error_named(name, text[:_MAX_WORDS_CHARACTERS]))
                self.jobs.confirm(key)
            case Prepared(call=number, prompt=prompt):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_result(prompt)
            case CallFailure(call=number, error=name, message=text):
                if (call := self._calls.get(number)) is not None and not call.done():
                    call.set_exception(engine_error_named(name, text[:_MAX_WORDS_CHARACTERS]))
            case Loaded() | LoadFailed():
                self.fail(EngineCrashed(f"The engine sent {message.type} a second time and was restarted."))
            case _:
                assert_never(message)

    def _deliver(self, key: str, event: Event) -> None:
        job = self.jobs.get(key)
        if job is None:
            return
        job.last_event_at = self._clock()
        try:
            job.deliver(event)
        except OutputLimit as error:
            job.fail(error)
            self.cancel(key)
        if isinstance(event, Finished):
            self.jobs.confirm(key)

    async def _watch(self) -> None:
        """Ping, and compare with the limits, at every heartbeat."""
        due_at = self._clock()
        while not self._cause.done():
            late_s = self._clock() - due_at
            if late_s > self._limits.heartbeat_s:  # this process was stopped or starved: it did not listen either
                self._forgive(late_s)
            breach = self._breach(self._clock())
            if breach is not None:
                logger.warning("engine lost: %s", breach, extra={"event": "engine_breach", "pid": self.pid})
                self.fail(breach)
                return
            self._child.channel.post(Ping())
            due_at = self._clock() + self._limits.heartbeat_s
            await asyncio.sleep(self._limits.heartbeat_s)

    async def _watch_scratch(self) -> None:
        """Look at the scratch folder at every heartbeat, in a thread: a full one takes a while."""
        limits = self._limits
        while not self._cause.done():
            use = await asyncio.to_thread(self._child.scratch_use, limits.scratch_files)
            if use.hidden or use.size_bytes > limits.scratch_bytes or use.files > limits.scratch_files:
                hidden = ", some of which cannot be looked into" if use.hidden else ""
                breach = ScratchLimit(
                    f"The engine filled its scratch folder ({use.size_bytes >> 20} MiB in {use.files} files{hidden}; "
                    f"{limits.scratch_bytes >> 20} MiB in {limits.scratch_files} are allowed); it was restarted."
                )
                logger.warning("engine lost: %s", breach, extra={"event": "engine_breach", "pid": self.pid})
                self.fail(breach)
                return
            await asyncio.sleep(limits.heartbeat_s)

    def _forgive(self, late_s: float) -> None:
        """Leave out the time in which nothing that the child sent could be read."""
        self._last_heard_at += late_s
        for job in self.jobs:
            job.last_event_at += late_s
            if job.cancelled_at is not None:
                job.cancelled_at += late_s

    def _breach(self, now: float) -> EngineLost | None:
        limits = self._limits
        if now - self._last_heard_at > limits.silence_s:
            return EngineHung(f"The engine did not answer for {limits.silence_s:g} s and was restarted.")
        if (rss := self._child.rss_bytes()) > limits.rss_bytes:
            return MemoryLimit(
                f"The engine used {rss >> 20} MiB of memory, {limits.rss_bytes >> 20} MiB are allowed; it was "
                "restarted. Lower its slots or context."
            )
        for job in self.jobs:
            if now - job.last_event_at > limits.stall_s:
                return _hung_in(job, f"A job made no progress for {limits.stall_s:g} s; the engine was restarted.")
            if job.cancelled_at is not None and now - job.cancelled_at > limits.cancel_s:
                return _hung_in(job, f"A job was not cancelled within {limits.cancel_s:g} s; the engine was restarted.")
        return None


def _hung_in(job: Job, message: str) -> EngineHung:
    error = EngineHung(message)
    error.blamed = job.key
    return error


async def open_session(spawn: Coroutine[Any, Any, ChildProcess], order: Load, limits: EngineLimits) -> Session:
    """Start a child and load its model; nothing is left when this raises EngineStartFailed."""
    try:
        child = await spawn
    except OSError as error:
        raise EngineStartFailed(f"The engine's process cannot be started: {error.strerror}.") from error
    try:
        return await Session.open(child, order, limits)
    except BaseException:
        await child.end()
        raise
