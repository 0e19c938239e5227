"""Makes an interpreter's platform poorer, to what Windows has: no module, function or signal of Unix alone.

An interpreter with this folder in ``PYTHONPATH`` loads it at its start, and so do those that it starts. Modules of
gpunode find ``win32`` where they ask for ``sys.platform``; libraries go on as on Linux, and what they need of it was
imported before. That is as near to Windows as a test on Linux comes: it shows what gpunode asks of a platform, not how
Windows' own paths, pipes, event loop and libraries behave.
"""

import asyncio
import importlib.abc
import importlib.machinery
import os
import shutil
import signal
import socket
import subprocess
import sys
import types
from collections.abc import Sequence
from typing import Any

import filelock  # noqa: F401 -- see above
import platformdirs  # noqa: F401 -- see above
import psutil  # type: ignore[import-untyped]  # -- ships no annotations

_MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "uvloop", "hivemind", "multiaddr", "landlockpy", "seccompy")
_LACKING: dict[types.ModuleType, str] = {
    os: """
        O_CLOEXEC O_DIRECTORY O_NOFOLLOW O_PATH chown fchown fork forkpty getegid geteuid getgid
        getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid getxattr initgroups killpg lchown
        mkfifo mknod nice posix_spawn register_at_fork removexattr sched_getaffinity sched_setaffinity setegid seteuid
        setgid setpgid setpriority setsid setuid setxattr statvfs uname wait waitid
    """,
    signal: """
        SIGALRM SIGCHLD SIGCONT SIGHUP SIGKILL SIGPIPE SIGQUIT SIGSTOP SIGTSTP SIGUSR1 SIGUSR2 alarm pause
        pthread_kill pthread_sigmask setitimer sigpending sigwait
    """,
    socket: "AF_NETLINK AF_UNIX CMSG_SPACE SCM_RIGHTS SO_PEERCRED SO_REUSEPORT recv_fds send_fds",
    asyncio: "open_unix_connection start_unix_server",
}


def _refuse(*_: object) -> None:
    raise NotImplementedError


def _loopback_pair(*_: int) -> tuple[socket.socket, socket.socket]:
    """Return a connected pair as Windows' Python makes one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


class _Popen(subprocess.Popen[bytes]):
    """Hands no descriptors down, and knows no groups of processes."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        if settings.get("pass_fds") or settings.get("preexec_fn"):
            raise ValueError("pass_fds and preexec_fn are not supported on this platform")
        super().__init__(*arguments, **settings | {"start_new_session": False})

    def kill(self) -> None:
        """End the process at once."""
        self.send_signal(9)


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a module for Windows, which is never cached."""

    def get_code(self, fullname: str) -> types.CodeType:
        """See ``importlib.abc.InspectLoader``."""
        path = self.get_filename(fullname)
        code = self.source_to_code(self.get_data(path).replace(b"sys.platform", b"'win32'"), path)
        assert isinstance(code, types.CodeType)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds gpunode's modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder``."""
        if not fullname.startswith("gpunode"):
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def _impoverish() -> None:
    statvfs = os.statvfs

    def disk_usage(path: str) -> Any:
        status = statvfs(path)
        block = status.f_frsize
        return shutil._ntuple_diskusage(  # type: ignore[attr-defined]  # -- what the real one returns
            status.f_blocks * block, (status.f_blocks - status.f_bfree) * block, status.f_bavail * block
        )

    for module, names in _LACKING.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
    for functions in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        functions.clear()
    sys.modules |= dict.fromkeys(_MODULES)  # type: ignore[arg-type]  # -- importing any of them fails
    for owner, name, value in (
        (shutil, "disk_usage", disk_usage),
        (socket, "socketpair", _loopback_pair),
        (subprocess, "Popen", _Popen),
        (psutil.Process, "kill", lambda process: os.kill(process.pid, 9)),
        *(
            (asyncio.SelectorEventLoop, name, _refuse)
            for name in ("add_signal_handler", "remove_signal_handler", "add_reader", "add_writer")
        ),
    ):
        setattr(owner, name, value)
    sys.meta_path.insert(0, _Finder())


_impoverish()
