"""What the doctor prints, and its exit code."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

import typer
from gpunode_protocol.diagnosis import FindingStatus

from gpunode.doctor.runner import Diagnosis
from gpunode.terminal_text import printable

_STATUS_WIDTH: Final = max(len(status) for status in FindingStatus)
_NAME_WIDTH: Final = 12
_COLOURS: Final = {
    FindingStatus.OK: typer.colors.GREEN,
    FindingStatus.WARNING: typer.colors.YELLOW,
    FindingStatus.FAILURE: typer.colors.RED,
    FindingStatus.SKIPPED: typer.colors.BRIGHT_BLACK,
}


def lines_of(diagnosis: Diagnosis) -> str:
    """Return a line for a check, and one below it that says what to do; coloured, which ``typer.echo`` may take out."""
    finding = diagnosis.finding
    status = typer.style(f"{finding.status:<{_STATUS_WIDTH}}", fg=_COLOURS[finding.status])
    line = f"{status}  {diagnosis.name:<{_NAME_WIDTH}}  {_one_line(finding.message)}"
    indent = " " * (_STATUS_WIDTH + _NAME_WIDTH + 4)
    return f"{line}\n{indent}-> {_one_line(finding.fix)}" if finding.fix else line


def summary_of(diagnoses: Sequence[Diagnosis]) -> str:
    """Return the closing line: how many checks came out how."""
    counts = Counter(diagnosis.finding.status for diagnosis in diagnoses)
    return ", ".join(f"{counts[status]} {status}" for status in FindingStatus if counts[status])


def as_json(diagnoses: Sequence[Diagnosis], *, strict: bool) -> dict[str, Any]:
    """Return the object that ``--json`` prints."""
    checks = [
        {
            "name": diagnosis.name,
            "status": str(diagnosis.finding.status),
            "message": diagnosis.finding.message,
            "fix": diagnosis.finding.fix,
        }
        for diagnosis in diagnoses
    ]
    return {"ok": is_well(diagnoses, strict=strict), "checks": checks}


def is_well(diagnoses: Sequence[Diagnosis], *, strict: bool) -> bool:
    """Whether nothing failed; ``strict``: and nothing is worth a warning."""
    bad = {FindingStatus.FAILURE, FindingStatus.WARNING} if strict else {FindingStatus.FAILURE}
    return not any(diagnosis.finding.status in bad for diagnosis in diagnoses)


def _one_line(text: str) -> str:
    return " ".join(printable(text).split())
