import asyncio
from pathlib import Path

import pytest
from gpunode_node.doctor_facts import NodeFacts
from gpunode_node.network_state import NetworkState
from gpunode_protocol.diagnosis import Subject
from gpunode_protocol.errors import BadTrackerAddress

from tests.node.fake_tracker import network_info, running_tracker
from tests.node.running_daemon import FakeWorld, running_daemon, settings_of
from tests.node.world import NODE


def test_nothing_is_there_and_nothing_is_made(tmp_path: Path) -> None:
    """Before the first start."""
    facts = NodeFacts(Subject(data_dir=tmp_path / "n"))
    assert (facts.status(), facts.kept_network(), facts.network()) == (None, None, None)
    assert facts.folder().path == tmp_path / "n"
    assert list(tmp_path.iterdir()) == []


async def test_the_running_daemon_is_asked_once(tmp_path: Path) -> None:
    """All checks share its answer."""
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
        facts = NodeFacts(Subject(data_dir=tmp_path / "n"))
        status = await asyncio.to_thread(facts.status)
        assert status is not None
        assert status["peer_id"] == NODE.peer_id
        assert await asyncio.to_thread(facts.status) is status


async def test_the_tracker_comes_before_what_was_kept(tmp_path: Path) -> None:
    """While it is down, or something else answers there, what was kept has to do; the file stays as it is."""
    path = tmp_path / "network.json"
    NetworkState(path).accept(network_info(bootstrap=("kept",)))
    kept = path.read_bytes()
    async with running_tracker() as tracker:
        facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path))
        tracker.info = network_info(bootstrap=("fresh",))
        assert (await asyncio.to_thread(facts.network)) == tracker.info
        for answer in (503, 404, 302):
            tracker.refuses = answer
            info = await asyncio.to_thread(facts.network)
            assert info is not None
            assert info.bootstrap == ("kept",)
    assert path.read_bytes() == kept


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"info": "x"}'])
def test_a_damaged_file_is_none(tmp_path: Path, content: str) -> None:
    """The node itself refuses to guess; the doctor has nothing to look at."""
    (tmp_path / "network.json").write_text(content)
    assert NodeFacts(Subject(data_dir=tmp_path)).kept_network() is None


def test_an_address_of_the_tracker_that_cannot_be_used(tmp_path: Path) -> None:
    """It is a fault of the settings; that there is none is not."""
    assert NodeFacts(Subject(data_dir=tmp_path)).usable_settings().data_dir == tmp_path
    with pytest.raises(BadTrackerAddress):
        NodeFacts(Subject(tracker="http://tracker.example", data_dir=tmp_path)).usable_settings()


def test_a_file_of_authorities_that_is_not_there(tmp_path: Path) -> None:
    """It is a fault of the settings too, told once."""
    with pytest.raises(BadTrackerAddress, match=r"none\.pem cannot be used: No such file or directory\. Name"):
        NodeFacts(Subject(data_dir=tmp_path, ca_file=tmp_path / "none.pem")).usable_settings()
