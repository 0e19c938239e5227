"""The form in which components contribute checks to ``gpunode doctor``.

Each names, in the entry-point group ``gpunode.checks``, a function ``(Subject) -> Sequence[Check]``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CHECKS_GROUP = "gpunode.checks"


class FindingStatus(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"  #: works, but not as well as it could, or not for long
    FAILURE = "failure"  #: does not work
    SKIPPED = "skipped"  #: not needed here, or nothing to look at


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. fix: what to do, for a person; empty unless something should be done."""

    status: FindingStatus
    message: str
    fix: str = ""


def ok(message: str) -> Finding:
    """Return that all is well."""
    return Finding(FindingStatus.OK, message)


def warning(message: str, fix: str) -> Finding:
    """Return that something works, but not as it should."""
    return Finding(FindingStatus.WARNING, message, fix)


def failure(message: str, fix: str) -> Finding:
    """Return that something does not work."""
    return Finding(FindingStatus.FAILURE, message, fix)


def skipped(message: str, fix: str = "") -> Finding:
    """Return that there was nothing to check; ``fix``: what would change that."""
    return Finding(FindingStatus.SKIPPED, message, fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing to look at.

    Args:
        name: short, of the first column.
        run: looks and judges. It blocks, in a thread of its own; it changes nothing, neither here nor elsewhere, that
            would not pass by itself. A ``GpunodeError`` counts as a failure, a ``ModuleNotFoundError`` as skipped.
        extra: of gpunode, that installs what ``run`` imports.
        deadline_s: seconds after which it counts as failed.
    """

    name: str
    run: Callable[[], Finding]
    extra: str = ""
    deadline_s: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is examined, as the command line and the settings say; None = where it is by default.

    tracker: HOST[:PORT] or URL, empty if none is set. data_dir: the node's. state_dir: the client's.
    """

    tracker: str = ""
    ca_file: Path | None = None
    insecure: bool | None = None
    api_key_file: Path | None = None
    state_dir: Path | None = None
    data_dir: Path | None = None
