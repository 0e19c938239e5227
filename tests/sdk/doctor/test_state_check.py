from pathlib import Path

import pytest
from gpunode.doctor.state_check import check_state
from gpunode.doctor.tracker_facts import TrackerFacts
from gpunode_protocol.diagnosis import Subject


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """The first call makes it; the check does not."""
    finding = check_state(TrackerFacts(Subject(state_dir=tmp_path / "state")))
    assert (finding.status, str(tmp_path / "state") in finding.message) == ("ok", True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["/etc/passwd", "/proc/nope"])
def test_a_path_that_is_no_folder_and_never_will_be(path: str) -> None:
    """No call would work with it, tracker or not."""
    finding = check_state(TrackerFacts(Subject(state_dir=Path(path))))
    assert finding.status == "failure"
    assert "--state-dir" in finding.fix


def test_the_platforms_folder_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is set."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert str(tmp_path / "gpunode" / "client") in check_state(TrackerFacts(Subject())).message
