from gpunode._state import write_json
from gpunode.doctor.mesh_checks import check_mesh, check_p2pd, judge_mesh, judge_p2pd, known_bootstrap
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode_protocol.mesh import MeshState, MeshStatus

from tests.sdk.doctor.tracker_server import TrackerServer
from tests.sdk.world import Keys


def test_p2pd_starts_and_answers() -> None:
    """The real one, for a moment."""
    assert check_p2pd().status == "ok"


def test_p2pd_that_has_ended() -> None:
    """The mesh's own words are told."""
    finding = judge_p2pd(MeshStatus(state=MeshState.DEGRADED, problem="The libp2p daemon p2pd has ended."))
    assert (finding.status, "has ended" in finding.message) == ("failure", True)


def test_a_mesh_that_was_joined() -> None:
    """It says how many peers are in sight."""
    finding = judge_mesh(MeshStatus(state=MeshState.JOINED, peers_known=1))
    assert (finding.status, "1 peer in sight" in finding.message) == ("ok", True)


def test_a_mesh_in_which_nobody_answers() -> None:
    """The addresses that were tried are in the mesh's own words."""
    status = MeshStatus(state=MeshState.DEGRADED, problem="No peer of the mesh answers (tried /ip4/1). Check it.")
    finding = judge_mesh(status)
    assert (finding.status, finding.message) == ("failure", "No peer of the mesh answers (tried /ip4/1).")
    assert "outgoing connections" in finding.fix


def test_a_mesh_that_was_joined_with_a_wrong_clock() -> None:
    """It works, with a word."""
    status = MeshStatus(state=MeshState.DEGRADED, peers_known=4, problem="The clock is off. Set it by NTP.")
    finding = judge_mesh(status)
    assert (finding.status, finding.fix) == ("warning", "Set it by NTP.")
    assert finding.message == "Joined, with 4 peers in sight. The clock is off."


def test_there_must_be_somebody_to_join_by(
    facts: TrackerFacts, silent_facts: TrackerFacts, no_facts: TrackerFacts, tracker: TrackerServer
) -> None:
    """Without a tracker, and with one that names nobody, there is nothing to check."""
    tracker.changes = {"bootstrap": ()}
    assert {check_mesh(each).status for each in (facts, silent_facts, no_facts)} == {"skipped"}


def test_a_silent_tracker_has_named_peers_before(silent_facts: TrackerFacts) -> None:
    """What an earlier run kept serves; a damaged file is none."""
    path = silent_facts.state()[1].network_path
    write_json(path, Keys().network_info(bootstrap=("/ip4/127.0.0.1/tcp/1/p2p/x",)).model_dump_json())
    assert known_bootstrap(silent_facts) == ("/ip4/127.0.0.1/tcp/1/p2p/x",)
    write_json(path, "{}")
    assert known_bootstrap(silent_facts) is None
