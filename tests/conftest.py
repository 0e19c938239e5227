"""Settings for all tests: no test sees the user's configuration, folders or keys."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Examples have no deadline because test machines are shared; the quick profile repeats the same ones in every run.
settings.register_profile("quick", deadline=None, derandomize=True)
settings.register_profile("full", deadline=None, max_examples=1_000)
settings.load_profile("quick")

#: Where the platform puts a program's data, settings, caches and state (XDG Base Directory Specification).
_FOLDER_VARIABLES = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME")


@pytest.fixture(autouse=True)
def _isolated_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove every GPUNODE_* variable and move the user's folders into the test's own."""
    for name in [name for name in os.environ if name.startswith("GPUNODE_")]:
        monkeypatch.delenv(name)
    for name in _FOLDER_VARIABLES:
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    # A test's folder is too deep for the 108 bytes of a Unix socket's path: let programs choose their own short one.
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
