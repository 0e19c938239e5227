"""Settings for all tests: no test sees the user's configuration, folders or keys."""

import os
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import settings

# Examples have no deadline because test machines are shared; the quick profile repeats the same ones in every run.
settings.register_profile("quick", deadline=None, derandomize=True)
settings.register_profile("full", deadline=None, max_examples=1_000)
settings.load_profile("quick")

#: Where the platform puts a program's data, settings, caches and state (XDG Base Directory Specification).
_FOLDER_VARIABLES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")

ROOT = Path(__file__).parent

#: Folders, and fixtures there that start processes for all who ask for them.
_SHARED = (
    ("acceptance", "network"),
    ("benchmarks", "light_network"),
    ("benchmarks", "overhead"),
    ("protocol/mesh", "network"),
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With several workers, tests that share processes, or a file, run one after the other in one of them."""
    for item in items:
        path = item.path.relative_to(ROOT)
        fixtures: Collection[str] = getattr(item, "fixturenames", ())
        shared = (f"{folder}:{name}" for folder, name in _SHARED if name in fixtures and path.is_relative_to(folder))
        item.add_marker(pytest.mark.xdist_group(next(shared, str(path))))


@pytest.fixture(autouse=True)
def _isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every GPUNODE_* variable and move the user's folders into the test's own."""
    for name in [name for name in os.environ if name.startswith("GPUNODE_")]:
        monkeypatch.delenv(name)
    for name in _FOLDER_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # A test's folder is too deep for the 108 bytes of a Unix socket's path: let programs choose their own short one.
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
