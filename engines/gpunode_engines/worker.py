"""Main loop of an engine's process: ``python -m gpunode_engines.worker PARENT_PID [FD LINE_FD]``.

Without descriptors it finds on its standard input whom to call, see ``child_call``.

The main thread reads messages and never blocks on work, so that pings are answered while jobs run.
"""

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, assert_never

from gpunode_engines.base import Event
from gpunode_engines.channel import ChildChannel
from gpunode_engines.child_call import call_parent
from gpunode_engines.errors import BackendFailed, EngineError, InvalidParameters, OutOfMemory
from gpunode_engines.ipc import (
    CallFailure,
    Cancel,
    Denied,
    Generate,
    JobEvent,
    JobFailure,
    Load,
    LoadFailed,
    ParentMessage,
    Ping,
    Pong,
    Prepare,
    Prepared,
    Shutdown,
)
from gpunode_engines.out_of_memory import ran_out
from gpunode_engines.own_connections import OwnConnections
from gpunode_engines.parent_line import ParentLine, use_connections
from gpunode_engines.registry import create_backend
from gpunode_engines.sandbox import ParentGone, Sandbox, restrict_at_start

if TYPE_CHECKING:
    from gpunode_engines.backends import Backend

_PREPARE_THREADS = 2
_MAX_WORDS_CHARACTERS = 500
"""Of a library's error; some print whole listings."""


class Worker:
    """Serves one backend over one channel.

    Args:
        channel: to the parent.
        backend: loaded.
        slots: jobs at once.
        calls_reported: the parent hears of refused system calls from the kernel.
    """

    def __init__(
        self, channel: ChildChannel, backend: "Backend[Any, Any]", slots: int, *, calls_reported: bool = True
    ) -> None:
        self._channel = channel
        self._file_refusals = {errno.EACCES} if calls_reported else {errno.EACCES, errno.EPERM}
        self._backend = backend
        self._jobs: dict[str, threading.Event] = {}
        self._generators = ThreadPoolExecutor(slots, "generate")
        self._preparers = ThreadPoolExecutor(_PREPARE_THREADS, "prepare")

    def serve(self) -> None:
        """Answer messages until Shutdown or until the parent closes the pipe."""
        while (message := self._channel.receive()) is not None:
            if isinstance(message, Shutdown):
                return
            self._handle(message)

    def _handle(self, message: ParentMessage) -> None:
        match message:
            case Ping():
                self._channel.send(Pong())
            case Prepare():
                self._preparers.submit(_or_die, partial(self._prepare, message))
            case Generate(request=request):
                cancelled = self._jobs[request.job_key] = threading.Event()
                self._generators.submit(_or_die, partial(self._generate, message, cancelled))
            case Cancel(job_key=job_key):
                if (running := self._jobs.get(job_key)) is not None:
                    running.set()
            case Load() | Shutdown():
                raise RuntimeError(f"The message {message.type} is not allowed now.")
            case _:
                assert_never(message)

    def _prepare(self, message: Prepare) -> None:
        try:
            prompt = self._backend.prepare(message.request)
            self._channel.send(Prepared(call=message.call, prompt=prompt))
        except BaseException as error:  # noqa: BLE001 -- thread boundary: panics of Rust are no Exception; silence costs the engine
            self._report_denial(error)
            name, text = _described(error)
            self._channel.send(CallFailure(call=message.call, error=name, message=text))

    def _generate(self, message: Generate, cancelled: threading.Event) -> None:
        job_key = message.request.job_key

        def emit(event: Event) -> None:
            self._channel.send(JobEvent(job_key=job_key, event=event))

        try:
            self._backend.generate(message.request, emit, cancelled)
        except BaseException as error:  # noqa: BLE001 -- thread boundary: panics of Rust are no Exception; silence costs the engine
            self._report_denial(error)
            name, text = _described(error)
            self._channel.send(JobFailure(job_key=job_key, error=name, message=text))
        finally:
            if self._jobs.get(job_key) is cancelled:  # the key may be in use again already
                del self._jobs[job_key]

    def _report_denial(self, error: BaseException | None) -> None:
        """Tell the parent if an error came from the sandbox. Refused system calls it hears of from the kernel."""
        while error is not None:
            if isinstance(error, OSError) and error.filename is not None and error.errno in self._file_refusals:
                self._channel.send(Denied(act=f"a file ({errno.errorcode.get(error.errno or 0, error.errno)})"))
                return
            error = error.__cause__ or error.__context__


def _described(error: BaseException) -> tuple[str, str]:
    """Return class name and text of an EngineError; of anything else the type only, its text may quote a prompt."""
    if isinstance(error, EngineError):
        return type(error).__name__, str(error).encode(errors="backslashreplace").decode()
    if isinstance(error, UnicodeEncodeError):
        return InvalidParameters.__name__, "The request has half a character in its tools, schema or calls."
    if ran_out(error):
        return OutOfMemory.__name__, str(OutOfMemory())
    return BackendFailed.__name__, f"The backend failed with {type(error).__name__}; try another node."


def _or_die(work: Callable[[], None]) -> None:
    """Run in a pool thread; when even reporting fails, the parent is gone and nothing is left to do."""
    try:
        work()
    except OSError:
        os._exit(1)


def _load_failure(order: Load, error: Exception) -> str:
    """Return why a model cannot be loaded. Libraries say it in their own words, and not of which model."""
    if isinstance(error, EngineError):
        return str(error)
    words = f"{type(error).__name__}: {error}"[:_MAX_WORDS_CHARACTERS].rstrip(" .:")
    advice = f"Its files may be damaged: 'gpunode models verify {order.model}' compares them with what was pulled."
    if ran_out(error):
        advice = "Memory ran out; end other programs, or take a smaller model."
    return f"{order.backend} cannot load {order.model} ({words}). {advice}"


def _load(channel: ChildChannel, line: ParentLine | None) -> Worker | None:
    """Obey the first message; None when there is nothing to serve. line: None = this process connects by itself."""
    order = channel.receive()
    if not isinstance(order, Load):
        return None
    use_connections(line or OwnConnections(order.options.server))
    try:
        sandbox = Sandbox(order, line)
        sandbox.restrict_before_load()
        backend = create_backend(order.task, order.backend)
        loaded = backend.load(order)
        loaded = replace(loaded, confinement=sandbox.restrict_after_load())
    except Exception as error:  # noqa: BLE001 -- process boundary: the parent reports the cause
        channel.send(LoadFailed(message=_load_failure(order, error)))
        return None
    channel.send(loaded)
    return Worker(channel, backend, loaded.slots, calls_reported=loaded.confinement.denials_reported)


def main(arguments: list[str]) -> None:
    """Serve until told to stop, then leave at once: native libraries' destructors are not worth waiting for."""
    parent_pid, *descriptors = map(int, arguments)
    try:
        restrict_at_start(parent_pid)
    except ParentGone:
        os._exit(1)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if descriptors:
        pipe, line_pipe = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        worker = _load(ChildChannel(pipe), ParentLine(line_pipe))
    else:
        worker = _load(ChildChannel(call_parent(sys.stdin.buffer.readline())), None)
    if worker is not None:
        worker.serve()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
