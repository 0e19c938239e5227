"""seccomp: what an engine's process may not ask of the kernel once its model is loaded. Runs in the child."""

import contextlib
import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seccompy import Filter

_NETWORK = ("socket", "socketpair", "connect", "bind", "listen", "sendmmsg")
_PROCESSES = (
    *("execve", "execveat", "fork", "vfork", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("process_mrelease", "kcmp", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "tkill", "rt_sigqueueinfo"),
    *("rt_tgsigqueueinfo", "move_pages", "migrate_pages", "setrlimit", "capset"),
)
_KERNEL = (
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "bpf", "perf_event_open"),
    *("userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "add_key", "request_key", "keyctl"),
    *("reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "settimeofday", "clock_settime", "adjtimex"),
    *("clock_adjtime", "sethostname", "setdomainname", "syslog", "iopl", "ioperm", "modify_ldt", "vhangup"),
)
_FILES = (
    *("mount", "umount2", "pivot_root", "chroot", "move_mount", "open_tree", "open_tree_attr", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "setns", "unshare", "open_by_handle_at", "name_to_handle_at"),
    *("fanotify_init", "fanotify_mark", "mknod", "mknodat"),
    # Landlock does not cover what these change.
    *("chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "lchown", "fchown", "fchownat", "setxattr", "lsetxattr"),
    *("fsetxattr", "setxattrat", "removexattr", "lremovexattr", "fremovexattr", "removexattrat", "file_setattr"),
    *("utime", "utimes", "futimesat", "utimensat"),
)
_SHARED = ("shmget", "shmat", "semget", "msgget", "mq_open", "mq_unlink", "memfd_secret")
DENIED = (*_NETWORK, *_PROCESSES, *_KERNEL, *_FILES, *_SHARED)
"""Refused whatever their arguments, on architectures that have them. ``accept`` stays: of a listener open already."""

_CONDITIONAL = (
    *("clone", "clone3", "close_range", "sendmsg", "sendto", "kill", "tgkill", "prlimit64", "prctl"),
    *("mmap", "memfd_create"),
)

# include/uapi/linux/sched.h
_CLONE_FILES = 0x400
_CLONE_THREAD = 0x10000
# include/uapi/linux/mman.h, include/uapi/asm-generic/mman-common.h
_MAP_SHARED = 0x01
_MAP_ANONYMOUS = 0x20
_PR_SET_PDEATHSIG = 1  # include/uapi/linux/prctl.h

X32_BIT = 0x40000000
"""Set in the numbers of x86-64's second set of system calls, which has its own for what differs (512 to 547)."""
_X32_OWN = range(512, 548)


def filter_of(deny: Callable[..., None], rules: "Filter", *, pid: int, line: int, on_gpu: bool) -> "Filter":
    """Add the rules to a filter that allows the rest.

    Args:
        deny: the filter's method for what is refused: ``notify``, or ``errno`` with its number.
        rules: the filter.
        pid: of this process, the only one that it may signal.
        line: descriptor of the socket to the parent, over which alone descriptors may be sent.
        on_gpu: graphics drivers may want memory that is shared; elsewhere nothing does.
    """
    import seccompy  # noqa: PLC0415 -- there is none for other platforms than Linux

    with_value = partial(seccompy.ArgCmp, op=seccompy.CmpOp.NE)
    for name in DENIED:
        with contextlib.suppress(ValueError):  # this architecture does not have it
            number = seccompy.syscall_nr(name)
            deny(number)
            if seccompy.arch() == "x86_64":
                deny(number | X32_BIT)
    if seccompy.arch() == "x86_64":
        for number in (*map(seccompy.syscall_nr, _CONDITIONAL), *_X32_OWN):
            deny(number | X32_BIT)
    rules.errno("clone3", errno.ENOSYS)  # its flags lie in memory; glibc then asks for clone
    deny("clone", args=[seccompy.ArgCmp(0, seccompy.CmpOp.MASKED_EQ, 0, mask=_CLONE_THREAD)])
    # Descriptors of a thread of its own would be seen by no look at the process.
    deny("clone", args=[seccompy.ArgCmp(0, seccompy.CmpOp.MASKED_EQ, 0, mask=_CLONE_FILES)])
    deny("close_range", args=[with_value(index=2, value=0)])
    if not on_gpu:
        # Pages that stay when they are unmapped, or let go by madvise, count neither as resident nor as data.
        deny("memfd_create")
        shared = _MAP_SHARED | _MAP_ANONYMOUS
        deny("mmap", args=[seccompy.ArgCmp(3, seccompy.CmpOp.MASKED_EQ, shared, mask=shared)])
    deny("sendmsg", args=[with_value(index=0, value=line)])
    deny("sendto", args=[with_value(index=4, value=0)])  # with an address; plain ``send`` has none
    deny("kill", args=[with_value(index=0, value=pid)])
    deny("tgkill", args=[with_value(index=0, value=pid)])
    deny("prlimit64", args=[with_value(index=2, value=0)])
    deny("prctl", args={0: _PR_SET_PDEATHSIG})
    return rules


def confine_system_calls(line: int, hand_over: Callable[[int], None], *, on_gpu: bool) -> tuple[bool, bool]:
    """Refuse the calls above in all threads, for good.

    Args:
        line, on_gpu: see ``filter_of``.
        hand_over: gives the parent the descriptor over which it hears of refused calls and answers them.

    Returns:
        Whether the kernel refuses them, and whether the parent hears of it.
    """
    try:
        import seccompy  # noqa: PLC0415 -- there is none for other platforms than Linux
    except ImportError:
        return False, False
    flags = seccompy.FilterFlag
    rules = seccompy.Filter(flags=flags.TSYNC | flags.TSYNC_ESRCH | flags.NEW_LISTENER)
    try:
        listener = filter_of(rules.notify, rules, pid=os.getpid(), line=line, on_gpu=on_gpu).load()
    except OSError:
        # Linux before 5.7, or somebody listens already for the container around this.
        silent = seccompy.Filter(flags=flags.TSYNC | flags.LOG)
        return _load_silent(silent, line, on_gpu=on_gpu), False
    if listener is None:
        raise RuntimeError("A filter with a listener came without one.")
    with listener:  # closed here, the parent's copy is the only one: nobody in this process can answer
        hand_over(listener.fileno())
    return _all_threads_filtered(), True


def _load_silent(rules: Any, line: int, *, on_gpu: bool) -> bool:
    def deny(call: str | int, **conditions: Any) -> None:
        rules.errno(call, errno.EPERM, **conditions)

    try:
        filter_of(deny, rules, pid=os.getpid(), line=line, on_gpu=on_gpu).load()
    except OSError:
        return False
    return _all_threads_filtered()


def _all_threads_filtered() -> bool:
    states = [path.read_text(encoding="ascii") for path in Path("/proc/self/task").glob("*/status")]
    return bool(states) and all("\nSeccomp:\t2\n" in state for state in states)
