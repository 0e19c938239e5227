"""Which files an engine's process may touch: an allow-list, worked out in the child before it imports a library."""

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from gpunode_engines.ipc import Load

_SYSTEM = (
    *("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/nix/store", "/gnu/store"),
    *("/opt/rocm", "/opt/cuda", "/opt/intel", "/run/opengl-driver"),
)
"""Programs and shared libraries, those of graphics drivers included."""

_CONFIGURATION = (
    *("/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime"),
    *("/etc/nsswitch.conf", "/etc/passwd", "/etc/group", "/etc/os-release", "/etc/host.conf", "/etc/hosts"),
    *("/etc/OpenCL", "/etc/vulkan", "/etc/glvnd", "/etc/nvidia", "/etc/ssl/openssl.cnf", "/etc/mime.types"),
)
_KERNEL = (
    *("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/filesystems", "/proc/devices"),
    *("/proc/loadavg", "/proc/uptime", "/proc/modules", "/proc/driver/nvidia", "/proc/sys/vm", "/proc/sys/kernel"),
    *("/sys/devices", "/sys/class", "/sys/bus", "/sys/module", "/sys/fs/cgroup", "/sys/kernel/mm"),
    *("/dev/urandom", "/dev/random"),
)
_SINKS = ("/dev/null", "/dev/full")
_GPU_DEVICES = ("nvidia*", "dri", "kfd", "dxg", "zero")
"""Names below /dev: NVIDIA's nodes, Direct Rendering Infrastructure, AMD's compute node, that of Windows' Linux.

Mapped, ``zero`` is shared memory, which ``system_calls`` refuses where there is no driver that may want it.
"""

_PATH_VARIABLES = ("LD_LIBRARY_PATH", "CUDA_PATH", "CUDA_HOME")
_OWN_PACKAGES = ("gpunode_engines", "gpunode_protocol")
_GGUF = ".gguf"


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAccess:
    """Existing paths, each with all that lies below it.

    programs: may be read and, until the model is loaded, executed. readable: files to read. devices: to read and
    write. scratch: the one folder where files may be made.
    """

    programs: tuple[Path, ...]
    readable: tuple[Path, ...]
    devices: tuple[Path, ...]
    scratch: Path


def file_access(order: Load, scratch: Path, environment: Mapping[str, str]) -> FileAccess:
    """Return what one engine needs. Folders that hold a private one are opened up around it."""
    private = [Path(path) for path in order.sandbox.private]
    programs = (*_SYSTEM, *_python_paths(), *_named_paths(environment))
    readable = (*_CONFIGURATION, *_KERNEL, *_model_paths(order))
    devices = [*map(Path, _SINKS)]
    if order.options.use_gpu:
        devices += [path for name in _GPU_DEVICES for path in Path("/dev").glob(name)]
    return FileAccess(
        programs=tuple(_usable(programs, private)),
        readable=tuple(_usable(readable, private)),
        devices=tuple(path for path in devices if path.exists()),
        scratch=scratch.resolve(),
    )


def around(folder: Path, private: Iterable[Path]) -> Iterator[Path]:
    """Yield the folder, or what of it holds nothing private: Landlock grants whole folders and takes nothing back."""
    inside = [path for path in private if path.is_relative_to(folder)]
    if not inside:
        yield folder
    elif folder not in inside:
        for entry in folder.iterdir():
            yield from around(entry, inside)


def _usable(paths: Iterable[str | Path], private: list[Path]) -> Iterator[Path]:
    resolved = dict.fromkeys(Path(path).resolve() for path in paths)
    for path in resolved:
        if path.exists():
            yield from around(path, private)


def _python_paths() -> Iterator[str | Path]:
    yield from (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix)
    yield from (entry for entry in sys.path if entry)
    for name in _OWN_PACKAGES:
        spec = find_spec(name)
        yield from spec.submodule_search_locations or () if spec else ()


def _named_paths(environment: Mapping[str, str]) -> Iterator[str]:
    for name in _PATH_VARIABLES:
        yield from (entry for entry in environment.get(name, "").split(os.pathsep) if entry)


def _model_paths(order: Load) -> Iterator[str | Path]:
    """Yield the model's files. A GGUF model may lie among strangers' files, the others have a folder of their own."""
    yield from order.files
    if order.files and all(name.endswith(_GGUF) for name in order.files):
        yield from _further_parts(Path(order.files[0]))
    else:
        yield order.root


def _further_parts(first: Path) -> Iterator[Path]:
    """Yield the other parts of a split model: files beside the first, or beside what it is a link to.

    A link to anything else gains nothing by its name: whoever can make links in that folder names any file so.
    """
    target = first.resolve()
    folders = {first.parent.resolve(), target.parent}
    for path in first.parent.glob(f"*{_GGUF}"):
        other = path.resolve()
        if other.parent in folders and other.suffix == target.suffix:
            yield path
