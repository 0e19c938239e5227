"""Starting and ending an engine's process: scrubbed environment, scratch folder, link, last words."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

from gpunode_engines.child_link import ChildLink, ChildSilent, Linked, OpenLink, open_link
from gpunode_engines.denials import Denials
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.last_words import LastWords
from gpunode_engines.memory_cgroup import MemoryCgroup
from gpunode_engines.model_server import ModelServer
from gpunode_engines.parent_services import ParentServices
from gpunode_engines.process_end import kill_with_all, wait_for
from gpunode_engines.scratch_folder import ScratchFolder
from gpunode_engines.scratch_use import ScratchUse, scratch_use

_WINDOWS_OWN = frozenset({"SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "PROCESSOR_ARCHITECTURE", "NUMBER_OF_PROCESSORS"})
"""Without the first one no socket can be made there; Python's ``platform`` reads the processor from these."""

_KEPT_VARIABLES = _WINDOWS_OWN | {
    *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "PYTHONPATH", "OMP_NUM_THREADS")
}
_KEPT_PREFIXES = ("CUDA_", "NVIDIA_", "GGML_", "HIP_", "ROCR_", "VK_")

_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "ORT_DISABLE_TELEMETRY": "1",
}
"""Libraries download nothing and report nothing: onnxruntime, which comes with speech, does so from 1.29 on."""

_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)
"""On Windows a child without a console of the node's hears no Ctrl-C either."""


def child_environment(environment: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return what the child may see: paths, locale and GPU selection; no tokens, home or proxies."""
    kept = {
        name: value for name, value in environment.items() if name in _KEPT_VARIABLES or name.startswith(_KEPT_PREFIXES)
    }
    own = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP"), str(scratch))
    return kept | _OFFLINE | own | {"PYTHONDONTWRITEBYTECODE": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildParts:
    """What makes up a running child. services: None = it makes its connections itself. memory: None = no such limit."""

    process: asyncio.subprocess.Process
    words: LastWords
    link: Linked
    services: ParentServices | None
    scratch: ScratchFolder
    denials: Denials
    memory: MemoryCgroup | None


class ChildProcess:
    """A running engine process. Whoever spawned it awaits ``end``, which leaves neither process nor file behind."""

    def __init__(self, parts: ChildParts) -> None:
        self.channel = parts.link.channel
        self.pid = parts.link.pid  #: the child's process id
        self.denials = parts.denials
        self._parts = parts

    @classmethod
    async def spawn(
        cls,
        extra_environment: Mapping[str, str] | None = None,
        denials: Denials | None = None,
        memory_bytes: int | None = None,
        server: ModelServer | None = None,
        open_link: OpenLink = open_link,
    ) -> "ChildProcess":
        """Start ``python -m gpunode_engines.worker`` and link to it.

        On Linux the child dies with the *thread* that calls this (a property of PR_SET_PDEATHSIG), so the event loop
        must run in a thread that lives as long as the engine; the node's runs in the main thread. Elsewhere it dies
        when its channel ends.

        Args:
            extra_environment: variables for the child.
            denials: record of what is refused to it.
            memory_bytes: limit for its cgroup, where there can be one.
            server: the only one to which it gets connections.
            open_link: the way to it; by default this platform's.

        Raises:
            OSError: the process cannot be started. EngineStartFailed: it did not answer.
        """
        denials = denials or Denials("an unnamed model")
        async with contextlib.AsyncExitStack() as undo:
            scratch = ScratchFolder()
            undo.callback(scratch.remove)
            link = await open_link()
            undo.callback(link.close)
            process, words = await _start(link, scratch.path, extra_environment or {})
            undo.push_async_callback(_kill, process, words)
            try:
                linked = await link.meet(process)
            except ChildSilent as error:
                why = str(error) if process.returncode is None else f"ended ({_ending(process.returncode)})"
                await _kill(process, words)
                raise EngineStartFailed(f"The engine's process {why}: {words}".rstrip(": ") + ".") from error
            undo.push_async_callback(linked.channel.close)
            services = None
            if linked.line is not None:
                services = ParentServices(linked.line, denials, server)
                undo.callback(services.close)
                services.start(linked.pid)
            link.close()
            undo.pop_all()
        memory = _group_of(process.pid, memory_bytes)
        return cls(
            ChildParts(
                process=process,
                words=words,
                link=linked,
                services=services,
                scratch=scratch,
                denials=denials,
                memory=memory,
            )
        )

    @property
    def last_words(self) -> str:
        """The end of what the child wrote to stderr."""
        return str(self._parts.words)

    def rss_bytes(self) -> int:
        """Return the child's resident memory, 0 when it is gone."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    @property
    def is_stopped(self) -> bool:
        """Whether the system lets the child do nothing until somebody lets it go on (SIGSTOP, a debugger)."""
        try:
            return psutil.Process(self.pid).status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP}
        except psutil.Error:
            return False

    def scratch_use(self, most_files: int) -> ScratchUse:
        """Return what the child keeps in its scratch folder; see there. May take a while: for a thread."""
        return scratch_use(self._parts.scratch.path, self.pid, most_files)

    async def wait(self) -> str:
        """Wait for the child's end and say how it ended."""
        return _ending(await self._parts.process.wait())

    @property
    def passed_memory_limit(self) -> bool:
        """Whether the kernel has ended it because of the limit of its cgroup."""
        memory = self._parts.memory
        return memory is not None and memory.kills() > 0

    async def end(self) -> None:
        """Kill the child with all that it started, and remove its scratch folder. Idempotent."""
        parts = self._parts
        await _kill(parts.process, parts.words)
        await self.channel.close()
        if parts.services is not None:
            await asyncio.to_thread(parts.services.close)
        if parts.memory is not None:
            parts.memory.remove()
        await asyncio.to_thread(parts.scratch.remove)


def _group_of(pid: int, memory_bytes: int | None) -> MemoryCgroup | None:
    """Put a process, before it does anything, into a group with this limit; None where that is not to be had."""
    group = None if memory_bytes is None else MemoryCgroup.create(f"gpunode-engine-{pid}", memory_bytes)
    if group is not None and not group.add(pid):
        group.remove()
        return None
    return group


async def _start(
    link: ChildLink, scratch: Path, extra: Mapping[str, str]
) -> tuple[asyncio.subprocess.Process, LastWords]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-P", "-m", "gpunode_engines.worker", str(os.getpid()), *map(str, link.descriptors)),
        stdin=asyncio.subprocess.PIPE if link.first_words else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        pass_fds=link.descriptors,
        cwd=scratch,
        env=child_environment(os.environ, scratch) | dict(extra),
        start_new_session=True,  # Ctrl-C at the terminal reaches the node, which ends its children in order
        creationflags=_NO_WINDOW,
    )
    if process.stderr is None:
        raise RuntimeError("A process was started without a pipe for its errors.")
    if process.stdin is not None:
        process.stdin.write(link.first_words)  # one line: a pipe takes it at once, and a dead child need not
        process.stdin.close()
    return process, LastWords(process.stderr)


def _ending(status: int) -> str:
    """Say how a process ended, by what was waited for."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


async def _kill(process: asyncio.subprocess.Process, words: LastWords) -> None:
    """Kill a process with all that it started and wait for its end. Idempotent."""
    if process.returncode is None and (killed := kill_with_all(process.pid)):  # else the number may be a stranger's
        await asyncio.to_thread(wait_for, killed)
    await process.wait()
    await words.wait()
