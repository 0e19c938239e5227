from pathlib import Path

import psutil
import pytest
from gpunode_engines.child_process import ChildProcess, child_environment

from tests.engines.scripted_engine import prepare, running_scripted_engine


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
