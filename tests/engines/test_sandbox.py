"""The restrictions are checked in real children: they cannot be undone in this process."""

import os
import re
import signal
import subprocess
import sys

import psutil
from gpunode_engines.sandbox import ParentGone

from tests.engines.scripted_engine import CHILD_PATH, prepare, running_scripted_engine

_PARENT = """
import asyncio, sys
from tests.engines.scripted_engine import scripted_engine

async def main():
    engine = scripted_engine()
    await engine.start()
    print(engine.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_the_child_cannot_gain_privileges() -> None:
    """no_new_privs is set before the backend is imported."""
    async with running_scripted_engine() as engine:
        status = (await prepare(engine, "status")).rendered.decode()
    assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)


async def test_the_child_writes_no_core_dumps() -> None:
    """Prompts do not end up in core files."""
    async with running_scripted_engine() as engine:
        assert engine.pid is not None
        assert psutil.Process(engine.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)


def test_the_child_dies_with_its_parent() -> None:
    """A parent that is killed with -9 leaves no child behind."""
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, env=os.environ | CHILD_PATH
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        child.wait(timeout=10)
    assert not child.is_running()


def test_an_orphan_does_not_start() -> None:
    """A child whose parent died before it could tie itself to it gives up."""
    code = "from gpunode_engines.sandbox import restrict_at_start; restrict_at_start(1 << 22)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ParentGone.__name__ in result.stderr


def test_both_stages_can_follow_each_other() -> None:
    """Neither stage refuses on this kernel."""
    code = (
        "import os; from gpunode_engines.sandbox import restrict_after_load, restrict_at_start; "
        "restrict_at_start(os.getppid()); restrict_after_load()"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_files_cannot_be_written() -> None:
    """A child cannot fill the disk."""
    code = (
        "import os, tempfile; from gpunode_engines.sandbox import restrict_at_start; restrict_at_start(os.getppid()); "
        "tempfile.TemporaryFile().truncate(65 << 20)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "File too large" in result.stderr or result.returncode == -signal.SIGXFSZ
