import contextlib
import json
import os
import select
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from gpunode_engines.child_process import ChildProcess, child_environment

from tests.engines.scripted_engine import prepare, running_scripted_engine

_BY_WAY_OF_ANOTHER = """
    import asyncio, json, psutil, sys
    from gpunode_engines import process_end
    from tests.engines.scripted_engine import ask, collect, running_scripted_engine, text_of

    process_end._WAIT_S = 0.1  # on Linux it is up to the machine when the number of an orphan is free

    async def main():
        sys.executable = sys.argv[1]
        async with running_scripted_engine() as engine:
            text = text_of(await collect(engine, ask("hello")))
            child = psutil.Process(engine.pid)
            print(json.dumps({"text": text, "launcher": child.ppid(), "child": child.pid}), flush=True)
            sys.stdin.readline()

    asyncio.run(main())
"""

_KILLED_IN_A_JOB = """
    import asyncio, os, sys
    from tests.engines.scripted_engine import ask, running_scripted_engine

    async def main():
        async with running_scripted_engine() as engine:
            async for _ in engine.generate(ask(sys.argv[1])):
                print(engine.pid, flush=True)
                sys.stdin.readline()
                os.kill(os.getpid(), 9)

    asyncio.run(main())
"""


def _foreign(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a program on a Linux that was made poorer, see ``tests/foreign_platform``."""
    path = (str(Path(__file__).parents[1] / "foreign_platform"), os.environ.get("PYTHONPATH"))
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, path))},
    )


class _End:
    """Of a process that need not be a child of this one, nor be waited for by anybody."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def wait(self) -> None:
        """Wait for it, 60 s at most."""
        assert select.select([self._descriptor], [], [], 60)[0] == [self._descriptor]


@contextlib.contextmanager
def _end_of(pid: int) -> Iterator[_End]:
    """The end of a process that runs."""
    descriptor = os.pidfd_open(pid)
    try:
        yield _End(descriptor)
    finally:
        os.close(descriptor)


def test_the_environment_is_scrubbed(tmp_path: Path) -> None:
    """Paths and GPU selection stay; tokens, home and proxies do not."""
    environment = {
        "PATH": "/bin",
        "CUDA_VISIBLE_DEVICES": "0",
        "GPUNODE_API_KEY": "secret",
        "HF_TOKEN": "secret",
        "HTTPS_PROXY": "http://user:secret@proxy",
        "HOME": "/home/user",
    }
    scrubbed = child_environment(environment, tmp_path)
    assert scrubbed["PATH"] == "/bin"
    assert scrubbed["CUDA_VISIBLE_DEVICES"] == "0"
    assert scrubbed["HOME"] == scrubbed["TMPDIR"] == str(tmp_path)
    assert "secret" not in str(scrubbed)


def test_what_programs_on_windows_cannot_do_without(tmp_path: Path) -> None:
    """The system's own variables stay, the user's folders become the scratch folder."""
    scrubbed = child_environment(
        {"SYSTEMROOT": "C:\\Windows", "USERPROFILE": "C:\\Users\\me", "TEMP": "C:\\t"}, tmp_path
    )
    assert scrubbed["SYSTEMROOT"] == "C:\\Windows"
    assert scrubbed["USERPROFILE"] == scrubbed["TEMP"] == scrubbed["TMP"] == str(tmp_path)


def test_libraries_report_nothing_to_their_makers(tmp_path: Path) -> None:
    """Whatever the owner's environment says."""
    scrubbed = child_environment({"ORT_DISABLE_TELEMETRY": "0", "HF_HUB_DISABLE_TELEMETRY": "0"}, tmp_path)
    assert scrubbed["ORT_DISABLE_TELEMETRY"] == scrubbed["HF_HUB_DISABLE_TELEMETRY"] == "1"


async def test_the_child_sees_the_scrubbed_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the parent knows does not leak into a real child."""
    monkeypatch.setenv("GPUNODE_API_KEY", "secret")
    async with running_scripted_engine() as engine:
        assert "secret" not in (await prepare(engine, "environment")).rendered.decode()


async def test_the_child_works_in_a_scratch_folder() -> None:
    """Its folder is private."""
    async with running_scripted_engine() as engine:
        folder = Path((await prepare(engine, "folder")).rendered.decode())
        assert folder.stat().st_mode & 0o777 == 0o700


async def test_last_words_and_exit_are_reported() -> None:
    """A child that cannot do its work tells why on stderr and in its exit code."""
    child = await ChildProcess.spawn({"PYTHONPATH": "", "PYTHONHOME": "/nonexistent"})
    how = await child.wait()
    await child.end()
    assert how.startswith("exit code")
    assert child.last_words
    assert child.rss_bytes() == 0


async def test_ending_twice_is_fine() -> None:
    """Whoever cleans up need not know who else did."""
    child = await ChildProcess.spawn()
    await child.end()
    await child.end()
    assert await child.wait() == "signal SIGKILL"
    assert not psutil.pid_exists(child.pid)


def test_an_interpreter_that_starts_another_one(tmp_path: Path) -> None:
    """As that of a virtual environment on Windows: the child tells its own number, and both are ended."""
    launcher = tmp_path / "python"
    launcher.write_text(f'#!/bin/sh\nexec 3<&0\n"{sys.executable}" "$@" <&3 &\nwait $!\n')
    launcher.chmod(0o700)
    with _foreign(_BY_WAY_OF_ANOTHER, str(launcher)) as process, contextlib.ExitStack() as open_ends:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        ends = [open_ends.enter_context(_end_of(said[name])) for name in ("launcher", "child")]
        _, err = process.communicate("go on\n", timeout=60)
        assert process.returncode == 0, err
        for end in ends:
            end.wait()
    assert (said["text"], len({said["launcher"], said["child"]})) == ("hello", 2)


@pytest.mark.parametrize("job", ["endless", "hang"])
def test_a_child_ends_with_its_parent_where_the_kernel_does_not_see_to_it(job: str) -> None:
    """By the end of its channel, in the middle of a job, whether that sends something or not."""
    with _foreign(_KILLED_IN_A_JOB, job) as parent:
        assert parent.stdout is not None
        with _end_of(int(parent.stdout.readline())) as end:
            parent.communicate("go on\n", timeout=60)
            end.wait()
