import json
from typing import Any

import pytest
from gpunode import cli_nodes
from gpunode.cli import main
from gpunode.client import InferenceClient
from gpunode.errors import TrackerUnreachable
from gpunode.types import NodeInfo
from gpunode_protocol.regions import Region

from tests.sdk.world import MODEL, World


@pytest.fixture(autouse=True)
def _client_of_the_world(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command talks to the network in memory."""

    def open_client(*_: object, **__: object) -> InferenceClient:
        return InferenceClient.from_config(world.config(), world.surroundings())

    monkeypatch.setattr(cli_nodes, "open_client", open_client)
    monkeypatch.setenv("COLUMNS", "200")


def test_json_lists_the_nodes(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """One list, an object for each node."""
    world.add_node()
    world.add_node(region=Region.EUROPE)
    assert main(["nodes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {node["region"] for node in told} == {"asia", "europe"}
    assert {node["model"] for node in told} == {MODEL}
    assert {node["node_id"] for node in told} == {node.peer_id for node in world.nodes}
    assert not any("node" in node for node in told)


def test_a_table_is_printed_once_where_there_is_no_terminal(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A pipe must come to an end."""
    node = world.add_node(active=1, queued=2)
    assert main(["nodes"]) == 0
    out = capsys.readouterr().out
    assert node.peer_id[-8:] in out
    assert "1+2/4" in out


def test_a_doubtful_place_is_marked(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """With what the mark means, and only then."""
    honest, liar = world.add_node(), world.add_node(region=Region.EUROPE)
    assert main(["nodes"]) == 0
    assert "(?)" not in capsys.readouterr().out
    world.tracker.info = world.keys.network_info(doubtful_places=(liar.peer_id,))
    assert main(["nodes"]) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert "2 nodes; (?): cannot be there, by measured round trips" in title
    assert {row.count("(?)") for row in rows if honest.peer_id[-8:] in row} == {0}
    assert ["europe (?)" in row for row in rows if liar.peer_id[-8:] in row] == [True]
    assert main(["nodes", "--json"]) == 0
    told = {node["node_id"]: node["place_doubtful"] for node in json.loads(capsys.readouterr().out)}
    assert told == {honest.peer_id: False, liar.peer_id: True}


def test_80_columns_are_enough(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Less important columns give way; nothing is cut, and one node is no plural."""
    monkeypatch.setenv("COLUMNS", "80")
    node = world.add_node()
    assert main(["nodes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "1 node"
    assert MODEL in lines[4]
    assert "asia" in lines[4]
    assert node.peer_id[-8:] in lines[4]
    assert "…" not in "".join(lines).replace(f"…{node.peer_id[-8:]}", "")


def test_at_a_terminal_the_table_stays_fresh(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node that came is shown; a failure leaves the table as it was and says why; then it goes on. Ctrl-C ends it."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich takes this for a terminal then
    world.add_node()
    seen: list[str] = []
    nodes_of = InferenceClient.nodes

    def nodes(client: InferenceClient, **wanted: Any) -> list[NodeInfo]:
        if len(seen) == 2:
            raise TrackerUnreachable("The tracker does not\x1b[2J answer.")
        return nodes_of(client, **wanted)

    def wait(_seconds: float) -> None:
        seen.append(capsys.readouterr().out)
        if len(seen) == 1:
            world.add_node(region=Region.EUROPE)
        if len(seen) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(InferenceClient, "nodes", nodes)
    monkeypatch.setattr(cli_nodes.time, "sleep", wait)
    assert main(["nodes"]) == 130
    first, fresh, failed, again = seen
    assert ["1 node" in first, "2 nodes" in fresh, "2 nodes" in failed, "2 nodes" in again] == [True] * 4
    told = "Not refreshed: The tracker does not[2J answer."
    assert [told in shown for shown in seen] == [False, False, True, False]
    assert world.nodes[1].peer_id[-8:] in failed


def test_only_a_region(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """``--in`` filters; a region that there is not is refused."""
    world.add_node()
    assert main(["nodes", "--in", "africa", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []
    assert main(["nodes", "--in", "mars"]) == 2
    assert "asia, europe" in capsys.readouterr().err
