"""The one switch that ends a job early, and steps that stop when it is thrown."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from gpunode_protocol.errors import JobError

T = TypeVar("T")


class Cancelled(Exception):
    """The client cancelled the job, or left and did not come back."""


class StopSwitch:
    """Thrown once; the first ending counts. Belongs to one event loop."""

    def __init__(self) -> None:
        self._ending: asyncio.Future[JobError | Cancelled] = asyncio.get_running_loop().create_future()

    def throw(self, ending: JobError | Cancelled) -> None:
        """End the job."""
        if not self._ending.done():
            self._ending.set_result(ending)

    async def guard(self, work: Coroutine[Any, Any, T], *, limit_s: float, late: JobError) -> T:
        """Run a step; end it, and wait for its end, when the switch is thrown or its time is up.

        Args:
            work: the step.
            limit_s: seconds, > 0.
            late: raised when the time is up.

        Raises:
            Cancelled, JobError: the ending, or ``late``.
        """
        task = asyncio.ensure_future(work)
        waited: set[asyncio.Future[Any]] = {task, self._ending}
        try:
            await asyncio.wait(waited, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise self._ending.result() if self._ending.done() else late
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
