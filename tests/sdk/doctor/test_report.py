import pytest
from click import unstyle
from gpunode.doctor.report import as_json, is_well, lines_of, summary_of
from gpunode.doctor.runner import Diagnosis
from gpunode_protocol.diagnosis import failure, ok, skipped, warning

FINE = Diagnosis("clock", ok("Within 3 s."))
SLOW = Diagnosis("reachability", warning("Relayed.", "Forward a port."))
BROKEN = Diagnosis("tracker", failure("It says \x1b[2J\nnothing.", "Check the address."))
ABSENT = Diagnosis("gpu", skipped("No driver."))


def test_a_line_and_below_it_what_to_do() -> None:
    """Columns stand below each other; what a stranger said cannot move the cursor."""
    assert unstyle(lines_of(FINE)) == "ok       clock         Within 3 s."
    assert unstyle(lines_of(SLOW)).splitlines() == [
        "warning  reachability  Relayed.",
        " " * 23 + "-> Forward a port.",
    ]
    assert unstyle(lines_of(BROKEN)).splitlines()[0] == "failure  tracker       It says [2J nothing."


def test_the_closing_line_counts() -> None:
    """Only what there is."""
    assert summary_of([FINE, FINE, SLOW, ABSENT]) == "2 ok, 1 warning, 1 skipped"


@pytest.mark.parametrize(
    ("diagnoses", "well", "strictly"),
    [([FINE, ABSENT], True, True), ([FINE, SLOW], True, False), ([FINE, BROKEN], False, False)],
)
def test_only_failures_count_unless_it_is_strict(diagnoses: list[Diagnosis], well: bool, strictly: bool) -> None:
    """What is not needed here is never a fault."""
    assert is_well(diagnoses, strict=False) is well
    assert is_well(diagnoses, strict=True) is strictly


def test_the_object_for_programs() -> None:
    """All checks, with all that is known of each."""
    assert as_json([SLOW], strict=False) == {
        "ok": True,
        "checks": [{"name": "reachability", "status": "warning", "message": "Relayed.", "fix": "Forward a port."}],
    }
