"""What a pull worker's process imports, and what it can do without: see also ``tests/foreign_platform``."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from gpunode_node.control_client import ask_daemon
from gpunode_node.control_transport import LoopbackTransport

from tests.node.pull.fake_queue import running_queue
from tests.node.world import NODE

#: Where interpreters find what makes their platform poorer.
_FOREIGN = str(Path(__file__).parents[2] / "foreign_platform")

#: Of the mesh, of the other programs, or of Linux alone: the child's sandbox says what it lacks without the last ones.
_NEVER = ("hivemind", "multiaddr", "torch", "gpunode_protocol.mesh", "gpunode_tracker.tracker", "gpunode.client")
_NOT_EVERYWHERE = ("uvloop", "hivemind", "multiaddr", "fcntl", "resource", "landlockpy", "seccompy")

#: A worker on the clock of the tests' tracker.
_WORKER = """
    import json, sys, time
    time.time = lambda: 1_800_000_000.0
    from gpunode.cli import main
    {engines}
    code = main(["start", "--pull", "--model", "smollm2-135m", "--region", "asia", *sys.argv[1:]])
    loaded = sorted(name for name, module in sys.modules.items() if module is not None)
    print(json.dumps({{"code": code, "modules": loaded}}))
"""

#: An engine that is no process.
_FAKE_ENGINES = """
    from gpunode_node import model_startup
    from gpunode_node.model_loading import load_models
    from tests.engines.fake_engine import FakeEngine

    async def with_fakes(entries, create, queue_limit):
        async def fake(entry):
            return FakeEngine(answer="Paris.", model=entry.name)
        return await load_models(entries, fake, queue_limit)

    model_startup.load_models = with_fakes
"""


@dataclass(frozen=True)
class _Run:
    """What a worker did: its answer to one job, and the modules that it had imported at the end."""

    answer: str
    modules: list[str]


async def _run_worker(
    folder: Path, engines: str = "", *, path: str = "", look: Callable[[], None] = lambda: None
) -> _Run:
    """Run a worker from its command line over one job to its drain; ``look`` is called before the drain."""
    folder.mkdir(mode=0o700)
    key = folder / "identity.key"
    key.touch(mode=0o600)
    key.write_bytes(NODE.to_libp2p())
    program = textwrap.dedent(_WORKER).format(engines=textwrap.dedent(engines))
    python_path = os.pathsep.join(filter(None, (path, os.environ.get("PYTHONPATH"))))
    async with running_queue() as queue:
        queue.put()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, "--tracker", queue.url, "--data-dir", str(folder)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": python_path},
        )
        try:
            async with asyncio.timeout(60):
                ending = asyncio.create_task(process.wait())
                done = asyncio.create_task(queue.until_ended())
                await asyncio.wait({ending, done}, return_when=asyncio.FIRST_COMPLETED)
                assert done.done(), (await process.communicate())[1].decode()
                (ended,) = await done
                await asyncio.to_thread(look)
                process.send_signal(signal.SIGTERM)
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    assert process.returncode == 0, err.decode()
    said = json.loads(out.splitlines()[-1])
    assert said["code"] == 0, err.decode()
    return _Run(ended.result["response"], said["modules"])


async def test_a_whole_worker_imports_no_mesh(tmp_path: Path) -> None:
    """From the command line to a delivered job and a drain: neither hivemind nor anything else of the mesh."""
    run = await _run_worker(tmp_path / "n", _FAKE_ENGINES)
    assert run.answer == "Paris."
    assert {"gpunode_node.pull.daemon", "uvloop"} <= set(run.modules)
    assert [name for name in run.modules if name in _NEVER] == []


async def test_a_whole_worker_on_a_platform_that_lacks_what_only_unix_has(tmp_path: Path, smollm2_path: Path) -> None:
    """A real model in a real child of a real worker, from the command line to a delivered job, a command and a drain.

    The platform is Linux made poorer, see ``tests/foreign_platform``: the closest to Windows that there is here.
    """
    assert smollm2_path.is_file()
    folder = tmp_path / "n"

    def look() -> None:
        status = ask_daemon(folder / "control.sock", "status", transport=LoopbackTransport())
        (model,) = status["models"]
        assert (model["name"], model["sandbox"]["level"], len(model["sandbox"]["lacks"])) == ("smollm2-135m", 0, 3)

    run = await _run_worker(folder, path=_FOREIGN, look=look)
    assert run.answer
    assert "gpunode_node.pull.daemon" in run.modules
    assert [name for name in run.modules if name in _NOT_EVERYWHERE] == []


def _run_there(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an interpreter on that platform to its end."""
    path = os.pathsep.join(filter(None, (_FOREIGN, os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": path},
    )


def test_the_modules_can_be_imported_there() -> None:
    """Every one of the pull worker, and of the engines except for backends, which name what they need."""
    program = """
        import importlib, pkgutil
        import gpunode_engines, gpunode_node.commands, gpunode_node.pull
        for package in (gpunode_engines, gpunode_node.pull):
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
    """
    done = _run_there("-c", textwrap.dedent(program))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["doctor"], "Sandbox level 0 of 3"),
        (["status"], "No node answers"),
        (["models", "list"], "smollm2-135m"),
        (["demo", "--pull"], "gpunode start --pull"),
        (["start", "--bootstrap", "127.0.0.1:1"], "gpunode start --pull"),
        (["tracker", "start"], "gpunode start --pull"),
    ],
)
def test_commands_there(command: list[str], says: str) -> None:
    """They work, or say what does."""
    done = _run_there("-m", "gpunode", *command)
    assert says in " ".join((done.stdout + done.stderr).split())
    assert "Unexpected" not in done.stderr
