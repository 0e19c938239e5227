from pathlib import Path

import pytest
from gpunode.doctor.runner import run_checks
from gpunode.doctor.settings_check import judge_settings, with_settings_check
from gpunode_protocol.diagnosis import Check, Finding, FindingStatus, ok
from gpunode_protocol.errors import InvalidSettings

BROKEN = "The configuration file /x/gpunode.toml cannot be read: Expected ']'."


def _refused() -> object:
    raise InvalidSettings(BROKEN)


def _refused_too() -> object:
    raise InvalidSettings(BROKEN)


def _accepted() -> object:
    return object()


def _fine() -> Finding:
    return ok("fine")


def _found(*checks: Check) -> list[tuple[str, FindingStatus]]:
    return [(each.name, each.finding.status) for each in run_checks(with_settings_check(checks))]


def test_bad_settings_are_one_failure() -> None:
    """Whoever needs them is skipped, everything else is checked; the settings come first."""
    assert _found(
        Check(name="tracker", run=_fine, load_settings=_refused),
        Check(name="grant", run=_fine, load_settings=_refused),
        Check(name="data", run=_fine, load_settings=_refused_too),
        Check(name="disk", run=_fine, load_settings=_accepted),
        Check(name="p2pd", run=_fine),
    ) == [
        ("settings", FindingStatus.FAILURE),
        ("tracker", FindingStatus.SKIPPED),
        ("grant", FindingStatus.SKIPPED),
        ("data", FindingStatus.SKIPPED),
        ("disk", FindingStatus.OK),
        ("p2pd", FindingStatus.OK),
    ]


def test_the_same_fault_is_told_once() -> None:
    """Several components read the same file; what differs is told of each."""
    finding = judge_settings([BROKEN, BROKEN])
    assert (finding.message, bool(finding.fix)) == (BROKEN, True)
    both = judge_settings([BROKEN, "The node's settings are not valid: port."]).message
    assert both == f"{BROKEN} The node's settings are not valid: port."


def test_a_faults_own_advice() -> None:
    """What follows the first sentence says what to do."""
    finding = judge_settings(["ftp://x is no address of a tracker. Give a host."])
    assert (finding.message, finding.fix) == ("ftp://x is no address of a tracker.", "Give a host.")


def test_good_settings_and_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is named: which one is read depends on the current folder."""
    assert judge_settings([]) == ok("Valid; from the environment and the options.")
    (tmp_path / "named.toml").touch()
    monkeypatch.setenv("GPUNODE_CONFIG", str(tmp_path / "named.toml"))
    assert str(tmp_path / "named.toml") in judge_settings([]).message
