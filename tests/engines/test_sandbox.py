"""The restrictions are checked in real children: they cannot be undone in this process."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from gpunode_engines.confinement import SandboxPolicy
from gpunode_engines.errors import EngineStartFailed
from gpunode_engines.sandbox import MAX_MORE_TASKS, MAX_OPEN_FILES, ParentGone
from gpunode_engines.sandbox_probe import probe_sandbox
from gpunode_engines.supervisor import SupervisedEngine

from tests.engines.scripted_engine import (
    CHILD_PATH,
    QUICK_LIMITS,
    SCRIPTED_PLAN,
    prepare,
    running_scripted_engine,
)

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
    assert probe_sandbox().no_new_privileges


async def test_strict_refuses_what_is_not_whole() -> None:
    """The start fails with what is missing; ``auto`` goes on and says so."""
    without = {"PYTHONPATH": str(Path(__file__).parent / "without_landlock") + os.pathsep + CHILD_PATH["PYTHONPATH"]}
    strict = replace(SCRIPTED_PLAN, sandbox=SandboxPolicy(mode="strict"))
    with pytest.raises(EngineStartFailed, match=r"lack: files by Landlock.*gpunode doctor"):
        await SupervisedEngine(strict, QUICK_LIMITS, extra_environment=without).start()
    engine = SupervisedEngine(SCRIPTED_PLAN, QUICK_LIMITS, extra_environment=without)
    info = await engine.start()
    assert (info.confinement.level, info.confinement.lacks()) == (2, ("files by Landlock",))
    await engine.stop()


async def test_limits_of_descriptors_tasks_and_memory() -> None:
    """A child cannot take all of them; memory by the parent's limit."""
    async with running_scripted_engine() as engine:
        child = psutil.Process(engine.pid)
        assert child.rlimit(psutil.RLIMIT_NOFILE) == (MAX_OPEN_FILES, MAX_OPEN_FILES)
        assert child.rlimit(psutil.RLIMIT_DATA) == (QUICK_LIMITS.data_bytes, QUICK_LIMITS.data_bytes)
        assert child.rlimit(psutil.RLIMIT_NPROC)[1] > MAX_MORE_TASKS


def test_large_files_cannot_be_written() -> None:
    """A child cannot fill the disk."""
    code = (
        "import os, tempfile; from gpunode_engines.sandbox import restrict_at_start; restrict_at_start(os.getppid()); "
        "tempfile.TemporaryFile().truncate(65 << 20)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "File too large" in result.stderr or result.returncode == -signal.SIGXFSZ
