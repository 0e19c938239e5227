"""How far downloads are: bars at a terminal, lines in the log elsewhere."""

import logging
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

logger = logging.getLogger(__name__)

LOG_STEP_PERCENT = 10
"""A line in the log whenever another step of this size is complete."""


class DownloadDisplay(Protocol):
    """Takes note of downloads; rich's ``Progress`` is one. Sizes in bytes; a total of None is not known yet."""

    def add_task(self, description: str, *, total: float | None) -> "TaskID":
        """Begin with one file and return its handle."""
        ...

    def update(self, task_id: "TaskID", *, completed: float, total: float | None) -> None:
        """Tell how much of the file is here."""
        ...


class LoggedDownloads:
    """Writes a line for every ``LOG_STEP_PERCENT`` of a file. Implements ``DownloadDisplay``."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._steps: list[int] = []  #: complete ones that stand in the log, of each file

    def add_task(self, description: str, *, total: float | None) -> "TaskID":  # noqa: ARG002 -- each update tells it
        """See ``DownloadDisplay``."""
        from rich.progress import TaskID  # noqa: PLC0415 -- keep `gpunode --help` quick

        self._names.append(description)
        self._steps.append(0)
        return TaskID(len(self._names) - 1)

    def update(self, task_id: "TaskID", *, completed: float, total: float | None) -> None:
        """See ``DownloadDisplay``."""
        steps = int(100 * completed / total) // LOG_STEP_PERCENT if total else 0
        if steps <= self._steps[task_id]:
            return
        self._steps[task_id] = steps
        percent, name = steps * LOG_STEP_PERCENT, self._names[task_id]
        fields = {"event": "download_progress", "file": name, "percent": percent}
        logger.info("downloading %s: %d %%", name, percent, extra=fields)


def download_bars() -> "Progress":
    """Return bars on standard error, to be entered as a context."""
    from rich.console import Console  # noqa: PLC0415 -- keep `gpunode --help` quick
    from rich.progress import (  # noqa: PLC0415 -- keep `gpunode --help` quick
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    return Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))


def choose_display() -> AbstractContextManager[DownloadDisplay]:
    """Return what suits a daemon: bars where standard error is a terminal, else lines in its log."""
    return download_bars() if sys.stderr.isatty() else nullcontext(LoggedDownloads())
