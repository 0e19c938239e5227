"""seccomp, in real processes: it cannot be undone in this one. With the real model: test_hostile_engines."""

import platform
import subprocess
import sys

import pytest
from gpunode_engines.system_calls import DENIED

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="seccomp is Linux's")

_CHILD = """
import ctypes, errno, mmap, os, socket, sys, threading
from gpunode_engines.system_calls import X32_BIT, confine_system_calls

libc = ctypes.CDLL(None, use_errno=True)

def error_of(number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    return errno.errorcode.get(ctypes.get_errno(), "none")

go, results = threading.Event(), []

def elder():
    go.wait()
    results.append(refused(socket.socket))

def refused(act):
    try:
        act()
    except PermissionError:
        return True
    return False

older_thread = threading.Thread(target=elder)
older_thread.start()
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
line, parents = socket.socketpair()

def hand_over(descriptor):
    raise AssertionError("nobody listens in this test")

{setup}
assert confine_system_calls(line.fileno(), hand_over, on_gpu={on_gpu}) == (True, False)
go.set()
older_thread.join()
assert results == [True]
younger = threading.Thread(target=elder)
younger.start()
younger.join()
assert results == [True, True]

served, _ = listener.accept()
client.sendall(b"hello")
assert served.recv(5) == b"hello"
socket.send_fds(line, [b"x"], [0])
assert refused(lambda: socket.send_fds(client, [b"x"], [0]))
assert refused(lambda: client.connect(listener.getsockname()))
assert refused(lambda: client.sendto(b"x", ("127.0.0.1", 9)))
assert refused(os.fork)
assert refused(lambda: os.execv("/bin/true", ["true"]))
assert refused(lambda: os.kill(os.getppid(), 0))
os.kill(os.getpid(), 0)
assert refused(lambda: os.chmod("/dev/null", 0o666))
assert error_of(435, None, 0) == "ENOSYS"
os.closerange(1000, 1010)
assert error_of(436, 1000, 1010, 2) == "EPERM"
assert error_of(447, 0) == "EPERM"
assert refused(lambda: os.memfd_create("x")) != {on_gpu}
assert refused(lambda: mmap.mmap(-1, 4096, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)) != {on_gpu}
mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
with open(sys.executable, "rb") as file:
    mmap.mmap(file.fileno(), 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ).close()
if {x86_64}:
    assert error_of(41 | X32_BIT, 2, 1, 0) == "EPERM"
    assert error_of(520 | X32_BIT, 0, 0, 0) == "EPERM"
    assert error_of(56 | X32_BIT, 17, 0, 0, 0, 0) == "EPERM"
    assert error_of(56, 0x10000, 0, 0, 0, 0) == "EPERM"
print("checked")
"""

_NO_LISTENER = """
import seccompy
original = seccompy.Filter.load
def load(self):
    if self.flags & seccompy.FilterFlag.NEW_LISTENER:
        raise OSError(errno.EBUSY, "a listener exists")
    return original(self)
seccompy.Filter.load = load
"""


@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_is_refused_in_every_thread(on_gpu: bool) -> None:
    """Threads older than the filter included; where nobody can listen the kernel refuses alone."""
    code = _CHILD.format(setup=_NO_LISTENER, x86_64=platform.machine() == "x86_64", on_gpu=on_gpu)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("checked\n", "")


def test_every_name_is_that_of_a_system_call() -> None:
    """A misspelt name would be skipped as one that this architecture lacks."""
    from seccompy.syscalls import AARCH64_SYSCALLS, X86_64_SYSCALLS

    assert set(DENIED) - X86_64_SYSCALLS.keys() - AARCH64_SYSCALLS.keys() == set()
    only_old = {"fork", "vfork", "chmod", "chown", "lchown", "mknod", "utime", "utimes", "futimesat"}
    only_x86 = {"iopl", "ioperm", "modify_ldt"}
    assert set(DENIED) - AARCH64_SYSCALLS.keys() == only_old | only_x86


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_program_fits_into_the_kernel(machine: str) -> None:
    """It has a limit of 4,096 instructions; other architectures' system calls end the process."""
    code = (
        f"import platform; platform.machine = lambda: {machine!r}\n"
        "import seccompy\nfrom gpunode_engines.system_calls import filter_of\n"
        "rules = seccompy.Filter()\nfilter_of(rules.notify, rules, pid=7, line=3, on_gpu=False)\n"
        "print(seccompy.arch(), len(rules.program) // 8)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    name, count = done.stdout.split()
    assert name == machine
    assert 100 < int(count) < 4096
