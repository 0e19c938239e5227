"""What this machine's kernel offers for confining a process."""

import ctypes
import sys
from dataclasses import dataclass
from pathlib import Path

CGROUP_CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")

_PR_GET_SECCOMP = 21  # include/uapi/linux/prctl.h
# The same number on all architectures since Linux 5.13 (include/uapi/asm-generic/unistd.h, landlock.h).
_SYS_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_CREATE_RULESET_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelConfinement:
    """seccomp: filters for system calls. landlock_abi: 0 = none. memory_cgroups: version 2, with memory limits."""

    seccomp: bool
    landlock_abi: int
    memory_cgroups: bool

    def offers(self) -> tuple[str, ...]:
        """Return what there is, for a person."""
        parts = {
            "seccomp": self.seccomp,
            f"Landlock (ABI {self.landlock_abi})": self.landlock_abi > 0,
            "memory limits by cgroup v2": self.memory_cgroups,
        }
        return tuple(name for name, is_there in parts.items() if is_there)


def read_kernel_confinement(cgroup_controllers: Path = CGROUP_CONTROLLERS) -> KernelConfinement:
    """Ask the kernel; changes nothing."""
    if sys.platform != "linux":
        return KernelConfinement(seccomp=False, landlock_abi=0, memory_cgroups=False)
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_SYS_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    return KernelConfinement(
        seccomp=libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0,
        landlock_abi=max(0, abi),
        memory_cgroups="memory" in _words(cgroup_controllers),
    )


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").split()
    except OSError:
        return []
