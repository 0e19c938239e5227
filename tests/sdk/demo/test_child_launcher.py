import os
import subprocess
import sys

from gpunode.demo import _child_launcher


def test_it_becomes_the_command() -> None:
    """Same process, other program."""
    code = "import os; print(os.getpid())"
    command = [sys.executable, "-I", "-S", str(_child_launcher.__file__), str(os.getpid()), sys.executable, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=20)
    assert int(out) == process.pid


def test_an_orphan_ends_at_once() -> None:
    """Its parent died before the kernel could be told."""
    command = [sys.executable, "-I", "-S", str(_child_launcher.__file__), "1", sys.executable, "-c", "print('ran')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert (done.returncode, done.stdout) == (1, "")


def test_it_does_not_outlive_its_parent() -> None:
    """Even if that is killed without a word."""
    inner = "import signal; print('ready', flush=True); signal.pause()"
    outer = f"""
import os, subprocess, sys
launcher = [sys.executable, {str(_child_launcher.__file__)!r}, str(os.getpid())]
child = subprocess.Popen([*launcher, sys.executable, "-c", {inner!r}], stdout=subprocess.PIPE)
child.stdout.readline()
os.kill(os.getpid(), 9)
"""
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.communicate(timeout=20)  # returns when the child has closed standard error too: it is dead
    assert process.returncode == -9
