"""Programs on a host: a fork of the lab's process becomes a command, or calls a function that is loaded already."""

import asyncio
import importlib
import inspect
import json
import os
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from gpunode_benchmarks.lab.kernel import CLONE_NEWNET, enter_namespace

_NOT_STARTED: Final = 127  # what shells end with when there is no such command
_DEFAULT_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGPIPE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start.

    Args:
        namespace: descriptor of the host's network namespace.
        folder: the working directory.
        environment: the whole of it.
        standard: descriptors of input, output and errors.
        command: the program and its arguments; empty for a call.
        call: ``module:function``; a coroutine function gets an event loop. arguments: by keyword.
        result: descriptor that gets ``{"value": …}`` or ``{"error": traceback}`` of a call.
    """

    namespace: int
    folder: Path
    environment: Mapping[str, str]
    standard: Sequence[int]
    command: Sequence[str] = ()
    call: str = ""
    arguments: Mapping[str, Any]
    result: int | None = None


def launch(order: Launch, close_inherited: Callable[[], None]) -> int:
    """Start a program in a session of its own; return its process id.

    From its first moment it is one of the host's processes, and a signal finds it with the usual effect.

    Args:
        order: what.
        close_inherited: closes, in the new process, what only the lab's process may hold.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _DEFAULT_SIGNALS)
    try:
        enter_namespace(order.namespace, CLONE_NEWNET)
        pid = os.fork()
        if pid == 0:
            os.close(home)
            _become(order, close_inherited, unblocked)
    finally:
        enter_namespace(home, CLONE_NEWNET)
        os.close(home)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
    return pid


def _become(order: Launch, close_inherited: Callable[[], None], unblocked: Collection[int]) -> NoReturn:
    """Never return into the lab's loop, whatever happens."""
    code = _NOT_STARTED
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in _DEFAULT_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        result = None if order.result is None else os.dup(order.result)
        for target, descriptor in enumerate(order.standard):
            os.dup2(descriptor, target)
        close_inherited()
        os.chdir(order.folder)
        if order.command:
            code = become_command(order)
        else:
            signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a broken pipe is an exception, as always in Python
            os.environ.clear()
            os.environ.update(order.environment)
            tempfile.tempdir = None  # the host has its own
            code = _call(order, result)
    except BaseException:  # noqa: BLE001 -- the process's last words
        traceback.print_exc()
    finally:
        os._exit(code)


def become_command(order: Launch) -> int:
    """Run the command in place of this process; say why, and return the exit code, if that cannot be."""
    try:
        os.execvpe(order.command[0], list(order.command), dict(order.environment))  # noqa: S606 -- no shell is wanted
    except OSError as error:
        sys.stderr.write(f"gpunode: {order.command[0]} cannot be started on the host: {error.strerror}.\n")
        sys.stderr.flush()
    return _NOT_STARTED


def _call(order: Launch, result: int | None) -> int:
    try:
        answer = {"value": run_call(order.call, order.arguments)}
        data = json.dumps(answer).encode()
        code = 0
    except Exception:  # noqa: BLE001 -- whatever it is, the caller is told, and its log too
        traceback.print_exc()
        data = json.dumps({"error": traceback.format_exc()}).encode()
        code = 1
    if result is not None:
        with os.fdopen(result, "wb") as pipe:
            pipe.write(data)
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def run_call(call: str, arguments: Mapping[str, Any]) -> Any:
    """Call ``module:function`` and return what it returns; coroutine functions get an event loop."""
    module, _, name = call.partition(":")
    function = getattr(importlib.import_module(module), name)
    if inspect.iscoroutinefunction(function):
        return asyncio.run(function(**arguments))
    return function(**arguments)
