"""The steps with a session that is made up; the real one is in ``test_scene``."""

from types import SimpleNamespace
from typing import Any, Self

import pytest
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.routing import contact
from gpunode_benchmarks.routing.contact import unacquainted

NODES = {"one", "two"}


class _Client:
    """Knows one node more after each look-up; nodes connect again as often as they are told to."""

    came_back = 0

    def __init__(self, **_: object) -> None:
        self._session = self
        self.grants = self.finder = self.mesh = self
        self.granted = False
        self.connected = {*NODES, "tracker"}
        self._known = 0
        self._left = self.came_back

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def ready(self) -> Any:
        """Its own parts."""
        return SimpleNamespace(grants=self, finder=self, mesh=self)

    async def get(self, _task: object) -> None:
        """Hold a grant."""
        self.granted = True

    async def _placement(self, demand: object) -> object:
        return demand

    async def look_up(self, _placement: object) -> None:
        """Find one more."""
        self._known += 1

    def known(self, _placement: object) -> set[str]:
        """Who was found."""
        return set(sorted(NODES)[: self._known])

    async def _disconnect(self, node: str) -> None:
        self.connected.discard(node)

    async def connected_peers(self) -> tuple[str, ...]:
        """Some come back."""
        if self._left:
            self._left -= 1
            self.connected.add("one")
        return tuple(self.connected)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contact, "AsyncInferenceClient", _Client)
    monkeypatch.setattr(contact, "_PAUSE_S", 0)


async def test_a_client_knows_the_nodes_and_is_connected_to_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where some connect again; the tracker stays."""
    monkeypatch.setattr(_Client, "came_back", 3)
    async with unacquainted({}, "model", len(NODES)) as asking:
        client: Any = asking
        assert client.granted
        assert client.known(None) == NODES
        assert client.connected == {"tracker"}


async def test_too_few_nodes_are_told() -> None:
    """A job at one of them would not be judged against all."""
    with pytest.raises(BenchmarkFailed, match="Only 2 of 3"):
        async with unacquainted({}, "model", 3):
            pass


async def test_nodes_that_stay_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be no first contact."""
    monkeypatch.setattr(_Client, "came_back", 10_000)
    with pytest.raises(BenchmarkFailed, match="again and again"):
        async with unacquainted({}, "model", len(NODES)):
            pass
