"""What a pull worker's process imports, and what it can do without."""

import asyncio
import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.node.pull.fake_queue import running_queue
from tests.node.world import NODE

#: Of the mesh, of the other programs, or of Linux alone: the child's sandbox says what it lacks without the last ones.
_NEVER = ("hivemind", "multiaddr", "torch", "gpunode_protocol.mesh", "gpunode_tracker.tracker", "gpunode.client")
_NOT_EVERYWHERE = ("uvloop", "hivemind", "multiaddr", "fcntl", "resource", "landlockpy", "seccompy")

#: A worker with an engine that is no process; its clock is the tests' tracker's.
_WORKER = """
    import psutil, sys, time  # on Linux psutil itself needs what is taken away below
    time.time = lambda: 1_800_000_000.0
    sys.modules |= dict.fromkeys(sys.argv[3].split())
    import json
    from gpunode.cli import main
    from gpunode_node import model_startup
    from gpunode_node.model_loading import load_models
    from tests.engines.fake_engine import FakeEngine

    async def with_fakes(entries, create, queue_limit):
        async def fake(entry):
            return FakeEngine(answer="Paris.", model=entry.name)
        return await load_models(entries, fake, queue_limit)

    model_startup.load_models = with_fakes
    code = main(["start", "--pull", "--tracker", sys.argv[1], "--data-dir", sys.argv[2], "--region", "asia"])
    loaded = sorted(name for name, module in sys.modules.items() if module is not None)
    print(json.dumps({"code": code, "modules": loaded}))
"""


async def _modules_of_a_worker(folder: Path, *, without: tuple[str, ...] = ()) -> list[str]:
    """Run a worker from its command line over one job to its drain; return what it has imported."""
    folder.mkdir(mode=0o700)
    key = folder / "identity.key"
    key.touch(mode=0o600)
    key.write_bytes(NODE.to_libp2p())
    async with running_queue() as queue:
        queue.put()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(_WORKER), queue.url, str(folder), " ".join(without)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            (ended,) = await queue.until_ended()
            assert ended.result["response"] == "Paris."
            process.send_signal(signal.SIGTERM)
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()
    said = json.loads(out.splitlines()[-1])
    assert said["code"] == 0, err.decode()
    return list(said["modules"])


async def test_a_whole_worker_imports_no_mesh(tmp_path: Path) -> None:
    """From the command line to a delivered job and a drain: neither hivemind nor anything else of the mesh."""
    modules = await _modules_of_a_worker(tmp_path / "n")
    assert {"gpunode_node.pull.daemon", "uvloop"} <= set(modules)
    assert [name for name in modules if name in _NEVER] == []


async def test_a_whole_worker_without_what_is_not_everywhere(tmp_path: Path) -> None:
    """On asyncio's own loop, without any module of Linux or Unix."""
    modules = await _modules_of_a_worker(tmp_path / "n", without=_NOT_EVERYWHERE)
    assert "gpunode_node.pull.daemon" in modules
    assert [name for name in modules if name in _NOT_EVERYWHERE] == []


def test_the_package_can_be_imported_without_them() -> None:
    """Every module of it, and those of the engines that run beside it in the same process."""
    program = """
        import importlib, pkgutil, psutil, sys
        sys.modules |= dict.fromkeys(sys.argv[1:])
        import gpunode_node.commands, gpunode_node.pull
        for module in pkgutil.iter_modules(gpunode_node.pull.__path__):
            importlib.import_module(f"gpunode_node.pull.{module.name}")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *_NOT_EVERYWHERE],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
