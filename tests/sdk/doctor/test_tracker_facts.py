from pathlib import Path

import pytest
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode.errors import InvalidSettings, TrackerUnreachable
from gpunode_protocol.diagnosis import Subject

from tests.sdk.doctor.tracker_server import TrackerServer


def test_the_tracker_is_asked_once_for_all_checks(facts: TrackerFacts, tracker: TrackerServer) -> None:
    """The answer comes with the clock's offset; nothing is pinned or kept."""
    tracker.clock_s = -100.0
    first = facts.answer()
    assert facts.answer() is first
    assert len(tracker.asked) == 1
    assert 98.5 < first.clock_offset_s < 101.5
    assert first.round_trip_s > 0
    assert not facts.state()[0].path.exists()


def test_a_failure_is_the_same_for_all(silent_facts: TrackerFacts) -> None:
    """A tracker that is down is not asked again and again."""
    errors = []
    for _ in range(2):
        with pytest.raises(TrackerUnreachable) as caught:
            silent_facts.answer()
        errors.append(caught.value)
    assert errors[0] is errors[1]


def test_no_tracker(no_facts: TrackerFacts, facts: TrackerFacts) -> None:
    """The checks ask for it first."""
    assert (no_facts.has_tracker, facts.has_tracker) == (False, True)


def test_a_file_of_authorities_that_is_not_there(tmp_path: Path) -> None:
    """It is a fault of the settings, told once and not by each check that asks the tracker."""
    facts = TrackerFacts(Subject(tracker="https://tracker.example", ca_file=tmp_path / "none.pem"))
    with pytest.raises(InvalidSettings, match=r"none\.pem cannot be used: No such file or directory\. Name"):
        facts.check_settings()
