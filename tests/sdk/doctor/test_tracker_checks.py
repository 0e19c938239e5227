import pytest
from gpunode.doctor.mesh_checks import check_mesh
from gpunode.doctor.tracker_checks import check_clock, check_tracker, judge_clock, judge_network, transport_of
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import TrackerError, TrackerUnreachable
from gpunode_protocol.identity import Identity

from tests.sdk.doctor.tracker_server import TrackerServer
from tests.sdk.world import Keys

KEYS = Keys()
INFO = KEYS.network_info(bootstrap=("/ip4/127.0.0.1/tcp/1/p2p/x",))
URL = "https://tracker.example"


@pytest.mark.parametrize(
    ("offset_s", "status", "words"),
    [
        (0.4, "ok", "Within a second of the tracker's"),
        (2.0, "ok", "2 s ahead of the tracker's"),
        (-2.9, "ok", "3 s behind the tracker's, which does no harm"),
        (5.0, "warning", "5 s ahead of"),
        (-5.0, "warning", "5 s behind"),
        (60.0, "warning", "60 s ahead"),
        (120.0, "failure", "120 s ahead"),
        (-120.0, "failure", "120 s behind"),
    ],
)
def test_the_clock(offset_s: float, status: str, words: str) -> None:
    """Offset and fix are told from 3 s on; beyond a minute nothing works."""
    finding = judge_clock(offset_s)
    assert (finding.status, words in finding.message) == (status, True)
    assert ("NTP" in finding.fix) == (status != "ok")


def test_the_clock_of_a_running_tracker(facts: TrackerFacts, tracker: TrackerServer) -> None:
    """It is compared with this computer's."""
    tracker.clock_s = 100.0
    assert check_clock(facts).status == "failure"


def test_without_a_tracker_there_is_no_clock_to_compare(silent_facts: TrackerFacts, no_facts: TrackerFacts) -> None:
    """That is no fault of the clock's."""
    assert {check_clock(silent_facts).status, check_clock(no_facts).status} == {"skipped"}


@pytest.mark.parametrize("status", [302, 404, 500])
def test_an_address_that_is_no_trackers(facts: TrackerFacts, tracker: TrackerServer, status: int) -> None:
    """The check of the tracker tells it; those that need its answer are skipped."""
    tracker.status = status
    with pytest.raises(TrackerError):
        check_tracker(facts)
    assert {check_clock(facts).status, check_mesh(facts).status} == {"skipped"}


def test_a_tracker_that_answers(facts: TrackerFacts, tracker: TrackerServer) -> None:
    """Its network is told, and whether it is the one of the first contact."""
    finding = check_tracker(facts)
    assert finding.status == "ok"
    assert f"{tracker.keys.network} (not pinned yet), 1 bootstrap address." in finding.message
    facts.state()[1].pin(tracker.keys.root.public_key)
    assert "(pinned)" in check_tracker(facts).message


def test_a_tracker_with_another_root_key(facts: TrackerFacts) -> None:
    """What was pinned counts."""
    facts.state()[1].pin(Identity.from_seed(b"\x77" * 32).public_key)
    finding = check_tracker(facts)
    assert finding.status == "failure"
    assert "was pinned" in finding.message


def test_a_tracker_that_is_down_or_not_set(silent_facts: TrackerFacts, no_facts: TrackerFacts) -> None:
    """The error is the user's; a missing setting is only a warning, for a machine on which nothing is set up."""
    with pytest.raises(TrackerUnreachable):
        check_tracker(silent_facts)
    finding = check_tracker(no_facts)
    assert (finding.status, "--tracker" in finding.fix) == ("warning", True)


def test_a_sound_network() -> None:
    """Nothing is wrong with it."""
    root = KEYS.root.public_key
    assert judge_network(INFO, URL, pinned_root=root, expected_network=KEYS.network) is None


def test_a_network_that_is_not_the_expected_one() -> None:
    """The settings may name it."""
    finding = judge_network(INFO, URL, pinned_root=None, expected_network="0" * 40)
    assert finding is not None
    assert (finding.status, "0" * 40 in finding.message) == ("failure", True)


def test_a_network_that_does_not_verify() -> None:
    """Its id must follow from its key."""
    forged = INFO.model_copy(update={"network": "1" * 40})
    finding = judge_network(forged, URL, pinned_root=None, expected_network=None)
    assert finding is not None
    assert (finding.status, "does not verify" in finding.message) == ("failure", True)


def test_a_network_without_bootstrap_peers() -> None:
    """Then nobody finds anything in the DHT."""
    finding = judge_network(KEYS.network_info(bootstrap=()), URL, pinned_root=None, expected_network=None)
    assert finding is not None
    assert finding.status == "warning"


@pytest.mark.parametrize(("url", "bad"), [("http://192.0.2.1", True), ("http://127.0.0.1:8470", False), (URL, False)])
def test_plain_http_to_another_machine(url: str, bad: bool) -> None:
    """It was allowed, but it is worth a warning."""
    finding = judge_network(INFO, url, pinned_root=None, expected_network=None)
    assert (finding is not None and finding.status == "warning") is bad


def test_how_the_tracker_was_reached() -> None:
    """An answer over https means that the certificate is trusted."""
    assert "TLS" in transport_of(URL)
    assert "plain http" in transport_of("http://127.0.0.1")
