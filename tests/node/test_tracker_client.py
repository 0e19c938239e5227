"""Calls to the tracker."""

from pathlib import Path

import pytest
from gpunode_node.errors import TrackerRefused, TrackerUnreachable
from gpunode_node.tracker_client import TrackerClient
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.tracker_api import HeartbeatRequest

from tests.node.fake_tracker import FakeTracker, running_tracker
from tests.node.world import NETWORK, NODE


async def test_network_info() -> None:
    """A reply is read into its model."""
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url)
        assert (await client.network()).network == NETWORK
        await client.close()
        await client.close()


async def test_a_refusal_tells_the_trackers_words() -> None:
    """Status and detail of the problem body."""
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerRefused, match="Register first") as caught:
            await client.heartbeat(NODE.peer_id, "wrong", HeartbeatRequest(status="online"))
        assert caught.value.status == 401
        await client.close()


async def test_a_tracker_that_is_down() -> None:
    """No listener, and a server that answers 503, are both unreachable."""
    async with running_tracker() as tracker:
        tracker.down = True
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerUnreachable, match="503"):
            await client.network()
    with pytest.raises(TrackerUnreachable, match="does not answer"):
        await client.network()
    await client.close()


async def test_something_else_than_a_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply of another shape is an error in words, not a traceback."""
    monkeypatch.setattr(FakeTracker, "_network", FakeTracker._challenge)
    async with running_tracker() as tracker:
        client = TrackerClient(tracker.url, attempts=1)
        with pytest.raises(TrackerUnreachable, match="something else"):
            await client.network()
        await client.close()


def test_a_bad_authority_file(tmp_path: Path) -> None:
    """The file is named."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BadTrackerAddress, match=r"ca\.pem"):
        TrackerClient("https://t.example", ca_file=tmp_path / "ca.pem")
