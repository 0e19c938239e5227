"""Keeps the load of those nodes known that may get the next job, and connections warm when there is none."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gpunode._probing import Prober
from gpunode._selection import MAX_PROBES, Candidate, Choice, Standing

MAX_KNOWN: Final = MAX_PROBES
"""Nodes of the last ranking whose load is known: which is best depends on the job, and on who else has come."""
MAX_WARM: Final = 3
"""Of those whose connections are kept when the client is idle: the best, and two that can take its place."""
BUSY_INTERVAL_S: Final = 1.0
"""With a far node's round trips below the life of an answer (2 s), so that the next job need not ask before it goes."""
BUSY_FOR_S: Final = 60.0
"""After the last job; then only the best few's connections are kept."""
IDLE_INTERVAL_S: Final = 15.0
"""Below the 30 s after which home routers forget a UDP flow."""
IDLE_FOR_S: Final = 600.0
"""After the last job; then they are left to libp2p, which drops what is unused."""


class Warmth:
    """Probes the best nodes in the background until ``close``.

    Args:
        prober: asks.
        monotonic: seconds.
        sleep: waits some seconds.
    """

    def __init__(
        self,
        prober: Prober,
        *,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._prober = prober
        self._monotonic = monotonic
        self._sleep = sleep
        self._best: tuple[Candidate, ...] = ()
        self._used_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def used(self, choices: Sequence[Choice]) -> None:
        """From now on, know the load of the nodes of this ranking and keep the best few's connections."""
        self._best = tuple(item.candidate for item in choices if item.standing is Standing.ANSWERED)[:MAX_KNOWN]
        self._used_at = self._monotonic()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with asyncio.TaskGroup() as renewals:  # a silent node holds up its own renewal only
            while (unused_s := self._monotonic() - self._used_at) < IDLE_FOR_S:
                is_busy = unused_s < BUSY_FOR_S
                await self._sleep(BUSY_INTERVAL_S if is_busy else IDLE_INTERVAL_S)
                renewals.create_task(self._prober.renew(self._best if is_busy else self._best[:MAX_WARM]))
