import pytest
from gpunode_protocol.diagnosis import Check, Finding, FindingStatus, failure, ok, skipped, warning


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (ok("fine"), Finding(FindingStatus.OK, "fine", "")),
        (warning("slow", "wait"), Finding(FindingStatus.WARNING, "slow", "wait")),
        (failure("broken", "mend it"), Finding(FindingStatus.FAILURE, "broken", "mend it")),
        (skipped("not here"), Finding(FindingStatus.SKIPPED, "not here", "")),
    ],
)
def test_every_kind_of_finding(finding: Finding, expected: Finding) -> None:
    """What should be mended comes with a fix."""
    assert finding == expected


def test_a_check_has_a_deadline_by_itself() -> None:
    """None can hold up the others for ever."""
    assert Check(name="x", run=lambda: ok("")).deadline_s > 0
