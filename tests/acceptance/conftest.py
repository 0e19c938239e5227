"""The network that all acceptance tests share, and a client of it."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from gpunode import InferenceClient

from tests.acceptance.network import Network


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    """Start one tracker and three nodes for the whole run; a test that ends one starts it again."""
    # below the system's own folder for such things: a test's folder is too long for Unix sockets
    folder = Path(tempfile.mkdtemp(prefix="gpn-"))
    shared = Network(folder)
    try:
        shared.start()
        yield shared
    finally:
        shared.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def client(network: Network) -> Iterator[InferenceClient]:
    """Return a connected client that is used by many tests."""
    with InferenceClient(network.url, api_key=network.api_key, state_dir=network.folder / "client") as connected:
        yield connected
