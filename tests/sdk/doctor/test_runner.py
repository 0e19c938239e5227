import threading

import pytest
from gpunode.doctor.runner import run_checks
from gpunode.errors import ClientError
from gpunode_protocol.diagnosis import Check, Finding, FindingStatus, ok


def _raising(error: Exception) -> Check:
    def run() -> Finding:
        raise error

    return Check(name="x", run=run, extra="mesh")


def _only(check: Check) -> Finding:
    (diagnosis,) = run_checks([check])
    return diagnosis.finding


def test_findings_come_in_the_order_of_the_checks() -> None:
    """Although they run at once: the first ends only after the second has begun."""
    second_runs = threading.Event()

    def first() -> Finding:
        return ok("first") if second_runs.wait(30) else ok("alone")

    def second() -> Finding:
        second_runs.set()
        return ok("second")

    found = run_checks([Check(name="a", run=first), Check(name="b", run=second)])
    assert [(each.name, each.finding.message) for each in found] == [("a", "first"), ("b", "second")]


def test_a_check_that_hangs_fails_and_the_others_go_on() -> None:
    """It keeps neither the command nor the other checks."""
    released = threading.Event()

    def hang() -> Finding:
        released.wait()
        return ok("late")

    hanging, sound = run_checks([Check(name="a", run=hang, deadline_s=0.01), Check(name="b", run=lambda: ok("fine"))])
    released.set()
    assert (hanging.finding.status, sound.finding) == (FindingStatus.FAILURE, ok("fine"))
    assert "no result within" in hanging.finding.message


def test_an_error_for_the_user_is_a_failure_with_its_own_advice() -> None:
    """The first sentence says what happened, the rest what to do."""
    finding = _only(_raising(ClientError("The disk at /x is full. Free some space.")))
    assert (finding.message, finding.fix) == ("The disk at /x is full.", "Free some space.")


def test_an_error_without_advice_gets_some() -> None:
    """A failure always says what to do."""
    assert "again" in _only(_raising(ClientError("Broken."))).fix


def test_an_unexpected_error_is_a_failure() -> None:
    """A bug in one check stops no other."""
    finding = _only(_raising(ZeroDivisionError("division by zero")))
    assert finding.status is FindingStatus.FAILURE
    assert "ZeroDivisionError" in finding.message


def test_a_missing_package_is_no_failure() -> None:
    """Whoever uses only a part of gpunode has only that part's packages."""
    finding = _only(_raising(ModuleNotFoundError("No module named 'hivemind'", name="hivemind.dht")))
    assert (finding.status, finding.fix) == (FindingStatus.SKIPPED, "pip install 'gpunode[mesh]'")
    assert "hivemind" in finding.message


def test_a_half_imported_module_is_no_failure() -> None:
    """Another check imported it at the same time, and failed over the package that is missing."""
    seen = iter(
        [ImportError("cannot import name 'Gpu'"), ModuleNotFoundError("No module named 'psutil'", name="psutil")]
    )

    def run() -> Finding:
        raise next(seen)

    finding = _only(Check(name="x", run=run, extra="node"))
    assert (finding.status, finding.fix) == (FindingStatus.SKIPPED, "pip install 'gpunode[node]'")


def test_an_import_that_never_succeeds_is_a_failure() -> None:
    """A broken package is not a missing one."""
    finding = _only(_raising(ImportError("cannot import name 'x' from 'y'")))
    assert (finding.status, "cannot import name" in finding.message) == (FindingStatus.FAILURE, True)


@pytest.mark.parametrize(("package", "status"), [("psutil", "skipped"), ("gpunode_typo", "failure")])
def test_a_missing_package_without_a_named_extra(package: str, status: str) -> None:
    """The package itself may tell; if not, something is broken."""

    def run() -> Finding:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    assert _only(Check(name="x", run=run)).status == status
