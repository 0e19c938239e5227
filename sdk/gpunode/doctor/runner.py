"""Runs checks all at once, each in a thread of its own, so that none can stop or delay the others."""

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from gpunode_protocol.diagnosis import Check, Finding, failure, skipped
from gpunode_protocol.errors import GpunodeError

from gpunode.failure_text import EXTRA_OF_PACKAGE, describe

_RUN_AGAIN = "Mend that and run 'gpunode doctor' again."
_IMPORT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A check's name and what it found."""

    name: str
    finding: Finding


def run_checks(checks: Sequence[Check]) -> Iterator[Diagnosis]:
    """Yield what each check found, in their order, each as soon as it and those before it are done."""
    started_at = time.monotonic()
    running = [(check, _start(check)) for check in checks]
    for check, result in running:
        try:
            finding = result.result(timeout=max(0.0, started_at + check.deadline_s - time.monotonic()))
        except TimeoutError:
            finding = failure(
                f"There was no result within {check.deadline_s:.0f} s.",
                "See whether a disk, a driver or the network hangs, and run 'gpunode doctor' again.",
            )
        yield Diagnosis(check.name, finding)


def _start(check: Check) -> Future[Finding]:
    """Start a check; a daemon thread, because one that hangs must not keep the command from ending."""
    result: Future[Finding] = Future()
    thread = threading.Thread(target=lambda: result.set_result(_run(check)), name=f"check-{check.name}", daemon=True)
    thread.start()
    return result


def _run(check: Check) -> Finding:
    try:
        return _imported_and_run(check)
    except ModuleNotFoundError as error:
        return _missing(error, check)
    except GpunodeError as error:
        what, _, next_step = str(error).partition(". ")
        return failure(f"{what.removesuffix('.')}.", next_step or _RUN_AGAIN)
    except Exception as error:  # noqa: BLE001 -- a check that fails in an unexpected way must not stop the others
        return failure(describe(error), _RUN_AGAIN)


def _imported_and_run(check: Check) -> Finding:
    """Run a check, again if its imports failed for another reason than a package that is missing.

    A module whose import fails is taken away again; a check that imports it at the same time may see only a part of it.
    """
    for _ in range(_IMPORT_ATTEMPTS - 1):
        try:
            return check.run()
        except ModuleNotFoundError:
            raise
        except ImportError:
            continue
    return check.run()


def _missing(error: ModuleNotFoundError, check: Check) -> Finding:
    """Return that a package is missing, which is normal where only a part of gpunode is used."""
    package = (error.name or "").partition(".")[0]
    extra = check.extra or EXTRA_OF_PACKAGE.get(package, "")
    if not extra:
        return failure(describe(error), _RUN_AGAIN)
    return skipped(f"Needs {package}, which is not installed.", f"pip install 'gpunode[{extra}]'")
