"""The tracker's word on the network and its clock; ``test_tracker_link`` has both with heartbeats."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gpunode_node.errors import TrackerUnreachable
from gpunode_node.network_state import NetworkState
from gpunode_node.tracker_client import TrackerClient
from gpunode_node.tracker_contact import NETWORK_REFRESH_S, TrackerContact

from tests.node.fake_tracker import FakeTracker, network_info, running_tracker
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NETWORK


@contextlib.asynccontextmanager
async def _contact(folder: Path) -> AsyncIterator[tuple[FakeTracker, TrackerContact, NetworkState]]:
    async with running_tracker() as tracker:
        state = NetworkState(folder / "network.json")
        client = TrackerClient(tracker.url, attempts=1)
        yield tracker, TrackerContact(client, state, lambda: EPOCH), state
        await client.close()


async def test_silence_and_return(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Both are noted and logged once, and who waits for the return is told of it."""
    returns: list[str] = []
    async with _contact(tmp_path) as (tracker, contact, state):
        contact.on_return = lambda: returns.append(contact.problem)
        await contact.fetch_network()
        assert (contact.problem, state.view.trust.network, returns) == ("", NETWORK, [])
        tracker.down = True
        for _ in range(2):
            with pytest.raises(TrackerUnreachable):
                await contact.fetch_network()
        assert "503" in contact.problem
        tracker.down = False
        await contact.fetch_network()
        assert (contact.problem, len(returns)) == ("", 1)
        events = [getattr(record, "event", "") for record in caplog.records]
        assert events.count("tracker_lost") == 1


async def test_a_clock_that_is_wrong(tmp_path: Path) -> None:
    """By how much, and what to do."""
    async with _contact(tmp_path) as (tracker, contact, _):
        tracker.info = network_info(time=EPOCH + 300)
        await contact.fetch_network()
        assert "behind the tracker's" in contact.clock_problem
        assert "NTP" in contact.clock_problem


class _Client:
    """Counts the questions."""

    def __init__(self) -> None:
        self.asked = 0

    async def network(self) -> object:
        self.asked += 1
        return network_info()


@virtual_time
async def test_prices_are_asked_for_now_and_then(tmp_path: Path) -> None:
    """Not with every heartbeat."""
    client = _Client()
    contact = TrackerContact(client, NetworkState(tmp_path / "n.json"), lambda: EPOCH)  # type: ignore[arg-type]  # -- counts
    for _ in range(21):
        await contact._refresh_network()
        await asyncio.sleep(NETWORK_REFRESH_S / 10)
    assert client.asked in {2, 3}
