"""Real backends with the real model loaded, taken over: a job's text names what the process then tries to do.

What fails raises, and the job with it; what succeeds although it must not raises ``Escaped``.
"""

import contextlib
import ctypes
import itertools
import mmap
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpunode_engines.backends import Backend, Emit
from gpunode_engines.base import Finished, GenerateRequest, PreparedPrompt
from gpunode_engines.errors import ContextOverflow
from gpunode_engines.ipc import Load, Loaded
from gpunode_engines.media import EmbeddingRequest, ImageRequest, SpeechRequest
from gpunode_engines.registry import create_backend
from gpunode_protocol.tasks import Task

PATH = "hostile_backend:"
"""Before the name of one of the functions at the end, a backend's name in a plan."""

TARGET_VARIABLE = "CUDA_HOSTILE_TARGET"
"""Names the file that is none of the child's business; the prefix is one that reaches it."""

FORKS = 1_200
NESTED_FOLDERS = 1_500
_PIECE_BYTES = 16 * 1024 * 1024
_FILE_BYTES = 1024 * 1024


class Escaped(ContextOverflow):
    """The sandbox let it happen."""


class HostileBackend:
    """Implements ``Backend``: another one that does what the jobs' texts say, or serves the jobs."""

    def __init__(self, backend: Backend[Any, Any]) -> None:
        self._backend = backend

    def load(self, order: Load) -> Loaded:
        """Load the real model."""
        return self._backend.load(order)

    def prepare(self, request: Any) -> PreparedPrompt:
        """Prepare as ever."""
        return self._backend.prepare(request)

    def generate(self, request: Any, emit: Emit, cancelled: threading.Event) -> None:
        """Do what the text says, or serve the job."""
        act = _ACTS.get(_text_of(request))
        if act is None:
            self._backend.generate(request, emit, cancelled)
            return
        act()
        emit(Finished(reason="stop", prompt_tokens=0, output_tokens=0))


def _text_of(request: Any) -> str:
    match request:
        case GenerateRequest(stop=(text, *_)):
            return text
        case ImageRequest(prompt=text) | SpeechRequest(initial_prompt=text) | EmbeddingRequest(inputs=(text, *_)):
            return text
    return ""


def _target() -> Path:
    return Path(os.environ[TARGET_VARIABLE])


def _open_socket() -> None:
    socket.socket().close()
    raise Escaped("a socket was opened")


def _connect() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.connect(0, b"", 0)
    if ctypes.get_errno():
        raise OSError(ctypes.get_errno(), "connect")


def _read_key() -> None:
    raise Escaped(_target().read_text())


def _write_outside() -> None:
    _target().with_name("planted").write_text("here")
    raise Escaped("a file was written")


def _change_mode() -> None:
    _target().chmod(0o777)
    raise Escaped("a mode was changed")


def _write_inside() -> None:
    path = Path.cwd() / "notes"
    path.write_text("x" * 1000)
    path.rename(path.with_name("kept"))


def _write_without_end() -> None:
    """Also where nobody sees it: every other file loses its name and is open only."""
    kept = []
    for number in itertools.count():
        path = Path.cwd() / f"{number}"
        kept.append(path.open("wb"))
        kept[-1].write(b"x" * _FILE_BYTES)
        kept[-1].flush()
        if number % 2:
            path.unlink()


def _nest_folders() -> None:
    """So deep that no path reaches the file in them, and no stack the folders."""
    for _ in range(NESTED_FOLDERS):
        Path("folder").mkdir()
        os.chdir("folder")
    Path("file").write_bytes(b"x")
    threading.Event().wait()


def _fork_without_end() -> None:
    for _ in range(FORKS):
        with contextlib.suppress(OSError):
            if os.fork() == 0:
                os._exit(0)
            raise Escaped("a process was forked")
    os.fork()


def _execute() -> None:
    os.execv("/bin/true", ["true"])


def _signal_parent() -> None:
    os.kill(os.getppid(), 0)
    raise Escaped("the parent can be signalled")


def _allocate_without_end() -> None:
    pieces = []
    with contextlib.suppress(MemoryError):
        while True:
            pieces.append(b"x" * _PIECE_BYTES)
    threading.Event().wait()


def _fill_memory_files() -> None:
    """Beyond every limit of memory; they need not even be mapped."""
    kept = []
    for number in itertools.count():
        kept.append(os.memfd_create(f"{number}"))
        os.write(kept[-1], b"x" * _PIECE_BYTES)


def _share_memory() -> None:
    mmap.mmap(-1, _PIECE_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    raise Escaped("there is memory that stays when it is let go")


def _share_memory_by_device() -> None:
    with Path("/dev/zero").open("rb") as device:
        mmap.mmap(device.fileno(), _PIECE_BYTES, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
    raise Escaped("there is memory that stays when it is let go")


def _share_memory_by_name() -> None:
    Path("/dev/shm/planted").write_text("here")
    raise Escaped("a file in memory was written")


def _hang() -> None:
    threading.Event().wait()


def _stand_still() -> None:
    """All threads stop, also the one that answers the parent: as under a library that keeps Python's lock."""
    os.kill(os.getpid(), signal.SIGSTOP)
    threading.Event().wait()  # the signal may reach another thread first


def _be_killed() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # as above


_ACTS: dict[str, Callable[[], None]] = {
    "open a socket": _open_socket,
    "connect": _connect,
    "read the key": _read_key,
    "write outside": _write_outside,
    "change a mode": _change_mode,
    "write inside": _write_inside,
    "write without end": _write_without_end,
    "nest folders": _nest_folders,
    "fork without end": _fork_without_end,
    "execute": _execute,
    "signal the parent": _signal_parent,
    "allocate without end": _allocate_without_end,
    "fill memory files": _fill_memory_files,
    "share memory": _share_memory,
    "share memory by device": _share_memory_by_device,
    "share memory by name": _share_memory_by_name,
    "hang": _hang,
    "stand still": _stand_still,
    "be killed": _be_killed,
}


def llamacpp() -> HostileBackend:
    """Text, llama.cpp."""
    return HostileBackend(create_backend(Task.LLM, "llamacpp"))


def transformers() -> HostileBackend:
    """Text, transformers."""
    return HostileBackend(create_backend(Task.LLM, "transformers"))


def diffusers() -> HostileBackend:
    """Images."""
    return HostileBackend(create_backend(Task.IMAGE_GEN, "diffusers"))


def whisper() -> HostileBackend:
    """Speech."""
    return HostileBackend(create_backend(Task.WHISPER, "faster-whisper"))


def embedding() -> HostileBackend:
    """Embeddings."""
    return HostileBackend(create_backend(Task.EMBEDDING, "transformers"))
