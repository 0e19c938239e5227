"""Starting and ending an engine's process: scrubbed environment, scratch folder, socket, last words."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

from gpunode_engines.channel import ParentChannel
from gpunode_engines.denials import Denials
from gpunode_engines.memory_cgroup import MemoryCgroup
from gpunode_engines.model_server import ModelServer
from gpunode_engines.parent_services import ParentServices
from gpunode_engines.scratch_folder import ScratchFolder
from gpunode_engines.scratch_use import ScratchUse, scratch_use

_KEPT_VARIABLES = frozenset(
    {"PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS", "SYSTEMROOT"}
)
_KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "GGML_", "HIP_", "ROCR_", "VK_")

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Libraries download nothing and report nothing: onnxruntime, which comes with speech, does so from 1.29 on."""

_LAST_WORDS_BYTES = 4096
_PIPE_CLOSE_S = 1.0


def child_environment(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return what the child may see: paths, locale and GPU selection; no tokens, home or proxies."""
    kept = {
        name: value for name, value in environment.items() if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }
    return kept | _OFFLINE | {"HOME": str(scratch), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}


class ChildProcess:
    """A running engine process. Whoever spawned it awaits ``end``, which leaves neither process nor file behind."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        channel: ParentChannel,
        services: ParentServices,
        scratch: ScratchFolder,
        denials: Denials,
        memory: MemoryCgroup | None = None,
    ) -> None:
        self.channel = channel
        self.denials = denials
        self._services = services
        self._memory = memory
        self._process = process
        self._scratch = scratch
        self._last_words = bytearray()
        self._stderr_task = asyncio.create_task(self._keep_last_words())

    @classmethod
    async def spawn(
        cls,
        extra_environment: Mapping[str, str] | None = None,
        denials: Denials | None = None,
        memory_bytes: int | None = None,
        server: ModelServer | None = None,
    ) -> "ChildProcess":
        """Start ``python -m gpunode_engines.worker`` with one end each of two socket pairs.

        The child dies with the *thread* that calls this (a property of PR_SET_PDEATHSIG), so the event loop must run
        in a thread that lives as long as the engine; the node's runs in the main thread.

        Args:
            extra_environment: variables for the child.
            denials: record of what is refused to it.
            memory_bytes: limit for its cgroup, where there can be one.
            server: the only one to which it gets connections.

        Raises:
            OSError: the process cannot be started.
        """
        async with contextlib.AsyncExitStack() as undo:
            scratch = ScratchFolder()
            undo.callback(scratch.remove)
            denials = denials or Denials("an unnamed model")
            (ours, theirs), (our_line, their_line) = socket.socketpair(), socket.socketpair()
            with theirs, their_line:
                services = ParentServices(our_line, denials, server)
                undo.callback(services.close)
                undo.callback(ours.close)
                channel = await ParentChannel.open(ours)
                undo.push_async_callback(channel.close)
                process = await _start((theirs.fileno(), their_line.fileno()), scratch.path, extra_environment or {})
            services.start(process.pid)
            undo.pop_all()
            return cls(process, channel, services, scratch, denials, _group_of(process.pid, memory_bytes))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def last_words(self) -> str:
        """The end of what the child wrote to stderr. Backends log errors only, never prompts."""
        return self._last_words.decode(errors="replace").strip()

    def rss_bytes(self) -> int:
        """Return the child's resident memory, 0 when it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def scratch_use(self, most_files: int) -> ScratchUse:
        """Return what the child keeps in its scratch folder; see there. May take a while: for a thread."""
        return scratch_use(self._scratch.path, self.pid, most_files)

    async def wait(self) -> str:
        """Wait for the child's end and say how it ended."""
        status = await self._process.wait()
        if status >= 0:
            return f"exit code {status}"
        try:
            return f"signal {signal.Signals(-status).name}"
        except ValueError:
            return f"signal {-status}"

    async def end(self) -> None:
        """Kill the child with all that it started, and remove its scratch folder. Idempotent."""
        if self._process.returncode is None:  # else the number may belong to a stranger by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        await self._process.wait()
        await self.channel.close()
        await asyncio.to_thread(self._services.close)
        if self._memory is not None:
            self._memory.remove()
        with contextlib.suppress(TimeoutError):  # only a process outside of the child's group can still hold the pipe
            await asyncio.wait_for(self._stderr_task, _PIPE_CLOSE_S)
        await asyncio.to_thread(self._scratch.remove)

    async def _keep_last_words(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        while chunk := await stream.read(_LAST_WORDS_BYTES):
            self._last_words += chunk
            del self._last_words[:-_LAST_WORDS_BYTES]


def _group_of(pid: int, memory_bytes: int | None) -> MemoryCgroup | None:
    """Put a process, before it does anything, into a group with this limit; None where that is not to be had."""
    group = None if memory_bytes is None else MemoryCgroup.create(f"gpunode-engine-{pid}", memory_bytes)
    if group is not None and not group.add(pid):
        group.remove()
        return None
    return group


async def _start(sockets: tuple[int, int], scratch: Path, extra: Mapping[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "gpunode_engines.worker", *map(str, sockets), str(os.getpid())),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=sockets,
        cwd=scratch,
        env=child_environment(os.environ, scratch) | dict(extra),
        start_new_session=True,  # Ctrl-C at the terminal reaches the node, which ends its children in order
    )
