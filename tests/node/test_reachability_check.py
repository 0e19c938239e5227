import asyncio
import socket
from pathlib import Path

import pytest
from gpunode_node.doctor_facts import NodeFacts
from gpunode_node.reachability_check import check_ports, check_reachability, judge_own_ports, judge_reachability
from gpunode_protocol.diagnosis import Subject
from gpunode_protocol.mesh import MeshConfig, create_mesh

from tests.node.fake_tracker import network_info, running_tracker
from tests.node.running_daemon import FakeWorld, running_daemon, settings_of
from tests.node.world import OTHER
from tests.protocol.mesh.plain_records import PlainValidator

LOOPBACK = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("reachable", "status", "words"),
    [
        (True, "ok", "can connect to this node at 192.0.2.7"),
        (False, "warning", "cannot connect to this node at 192.0.2.7"),
        (None, "warning", "not known"),
    ],
)
def test_what_peers_found(reachable: bool | None, status: str, words: str) -> None:
    """A node that only relays reach works, more slowly."""
    finding = judge_reachability(reachable, ("192.0.2.7",))
    assert (finding.status, words in finding.message) == (status, True)


def test_where_the_running_node_listens() -> None:
    """Its own ports are no conflict."""
    finding = judge_own_ports({"addresses": ["/ip4/127.0.0.1/tcp/4001/p2p/x"]})
    assert (finding.status, finding.message.endswith(": /ip4/127.0.0.1/tcp/4001.")) == ("ok", True)
    assert judge_own_ports({"addresses": []}).status == "failure"


def test_ports_before_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any port, a free one, one that another program has; and no tracker, so no place to listen."""
    assert check_ports(NodeFacts(Subject(data_dir=tmp_path))).status == "skipped"
    facts = NodeFacts(Subject(tracker=LOOPBACK, data_dir=tmp_path))
    assert "--port" in check_ports(facts).message
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        monkeypatch.setenv("GPUNODE_PORT", str(port))
        finding = check_ports(facts)
        assert (finding.status, f"Port {port} is in use" in finding.message) == ("failure", True)
        assert "--port" in finding.fix
    finding = check_ports(facts)
    assert (finding.status, f"Free: /ip4/127.0.0.1/tcp/{port}" in finding.message) == ("ok", True)


async def test_the_running_node_is_asked(tmp_path: Path) -> None:
    """It has had peers dial back at its start."""
    async with running_tracker() as tracker, running_daemon(settings_of(tmp_path / "n", tracker), FakeWorld()):
        facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path / "n"))
        assert (await asyncio.to_thread(check_reachability, facts)).status == "ok"
        assert "the running node" in (await asyncio.to_thread(check_ports, facts)).message


async def test_peers_dial_back_before_a_start(tmp_path: Path) -> None:
    """A real peer connects to a port that is open for a moment."""
    bootstrap = create_mesh(MeshConfig(identity_path=tmp_path / "key"), PlainValidator())
    await bootstrap.start()
    try:
        async with running_tracker() as tracker:
            tracker.info = network_info(bootstrap=await bootstrap.addresses())
            facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path / "n"))
            finding = await asyncio.to_thread(check_reachability, facts)
    finally:
        await bootstrap.stop()
    assert (finding.status, "127.0.0.1" in finding.message) == ("ok", True)
    assert not (tmp_path / "n").exists()


async def test_nobody_can_dial_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a tracker, without its answer, and with a port that another program has."""
    assert check_reachability(NodeFacts(Subject(data_dir=tmp_path))).status == "skipped"
    silent = NodeFacts(Subject(tracker=LOOPBACK, data_dir=tmp_path))
    assert "No bootstrap peer" in (await asyncio.to_thread(check_reachability, silent)).message
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("GPUNODE_PORT", str(server.getsockname()[1]))
        async with running_tracker() as tracker:
            tracker.info = network_info(bootstrap=(f"/ip4/127.0.0.1/tcp/9/p2p/{OTHER.peer_id}",))
            facts = NodeFacts(Subject(tracker=tracker.url, data_dir=tmp_path))
            finding = await asyncio.to_thread(check_reachability, facts)
    assert (finding.status, "in use" in finding.message) == ("skipped", True)
