"""The first words with the tracker."""

import asyncio
from pathlib import Path

import pytest
from gpunode_node.errors import ClockOff, OtherNetwork, TrackerRefused, TrackerUnreachable, TrackerUntrusted
from gpunode_node.first_contact import FIRST_CONTACT_TIMEOUT_S, meet_tracker, register_or_go_on, wait_for_bootstrap
from gpunode_node.network_state import NetworkState

from tests.node.fake_tracker import network_info
from tests.node.virtual_time import virtual_time


class _Link:
    """Fails so often, then succeeds."""

    def __init__(self, state: NetworkState, *failures: Exception) -> None:
        self.state = state
        self.failures = list(failures)
        self.info = network_info()
        self.clock_problem = ""

    async def fetch_network(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.state.accept(self.info)

    async def register(self) -> None:
        if self.failures:
            raise self.failures.pop(0)


async def _meet(state: NetworkState, *failures: Exception) -> None:
    link = _Link(state, *failures)
    await meet_tracker(link, state)  # type: ignore[arg-type]  # -- has the one method that is used


@virtual_time
async def test_a_tracker_that_comes_up_a_little_later(tmp_path: Path) -> None:
    """The first start waits for it."""
    state = NetworkState(tmp_path / "n.json")
    await _meet(state, *[TrackerUnreachable("down")] * 5)
    assert state.is_known


@virtual_time
async def test_a_tracker_that_was_never_met(tmp_path: Path) -> None:
    """Without any knowledge of the network the node gives up, with what to check."""
    started_at = asyncio.get_running_loop().time()
    with pytest.raises(TrackerUnreachable, match="--bootstrap"):
        await _meet(NetworkState(tmp_path / "n.json"), *[TrackerUnreachable("down")] * 100)
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(FIRST_CONTACT_TIMEOUT_S, abs=1)


@virtual_time
async def test_a_tracker_whose_certificate_is_not_trusted(tmp_path: Path) -> None:
    """Waiting would not mend it: the node says at once what to do."""
    started_at = asyncio.get_running_loop().time()
    with pytest.raises(TrackerUntrusted, match="--ca-file"):
        await _meet(NetworkState(tmp_path / "n.json"), TrackerUntrusted())
    assert asyncio.get_running_loop().time() == started_at


@virtual_time
async def test_a_clock_with_which_nothing_works(tmp_path: Path) -> None:
    """The node says so at once, instead of running without ever getting a job."""
    state = NetworkState(tmp_path / "n.json")
    link = _Link(state)
    link.clock_problem = "This computer's clock is 120 s behind the tracker's."
    with pytest.raises(ClockOff, match="120 s behind"):
        await meet_tracker(link, state)  # type: ignore[arg-type]  # -- as above


@virtual_time
async def test_a_tracker_that_is_known(tmp_path: Path) -> None:
    """What an earlier run saw is enough to start with."""
    NetworkState(tmp_path / "n.json").accept(network_info())
    state = NetworkState(tmp_path / "n.json")
    await _meet(state, TrackerUnreachable("down"))
    assert state.is_known


@virtual_time
async def test_another_network_is_no_reason_to_wait(tmp_path: Path) -> None:
    """Refusals are final."""
    with pytest.raises(OtherNetwork):
        await _meet(NetworkState(tmp_path / "n.json"), OtherNetwork("other"))


@virtual_time
async def test_a_tracker_whose_mesh_is_not_up_yet(tmp_path: Path) -> None:
    """The node waits for a bootstrap peer, through a silent moment as well."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info(bootstrap=()))
    link = _Link(state, TrackerUnreachable("down"), TrackerUnreachable("down"))
    link.info = network_info(bootstrap=("/ip4/11.0.0.1/tcp/1/p2p/x",))
    started_at = asyncio.get_running_loop().time()
    for _ in range(2):  # the second time there is nothing to wait for
        await wait_for_bootstrap(link, state)  # type: ignore[arg-type]  # -- as above
    assert state.info.bootstrap == ("/ip4/11.0.0.1/tcp/1/p2p/x",)
    assert asyncio.get_running_loop().time() - started_at == pytest.approx(3)


@virtual_time
async def test_a_tracker_without_a_mesh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After a while the node goes on without bootstrap peers, and says what that means."""
    state = NetworkState(tmp_path / "n.json")
    state.accept(network_info(bootstrap=()))
    link = _Link(state)
    link.info = network_info(bootstrap=())
    await wait_for_bootstrap(link, state)  # type: ignore[arg-type]  # -- as above
    assert "no bootstrap peer" in caplog.text


@virtual_time
async def test_registration_may_wait(tmp_path: Path) -> None:
    """A silent tracker does not stop the start; one that refuses does."""
    state = NetworkState(tmp_path / "n.json")
    await register_or_go_on(_Link(state, TrackerUnreachable("down")))  # type: ignore[arg-type]  # -- as above
    with pytest.raises(TrackerRefused):
        await register_or_go_on(_Link(state, TrackerRefused(403, "no")))  # type: ignore[arg-type]  # -- as above
