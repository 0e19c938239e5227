"""Which nodes are linked to the account: asked of the tracker when somebody wants only those."""

from collections.abc import Awaitable, Callable
from typing import Final

from gpunode.errors import TrackerBusy, TrackerUnreachable

KEPT_S: Final = 60.0
"""A node that was just linked is known after this."""


class OwnNodes:
    """The account's nodes, as the tracker said last.

    Args:
        ask: returns their peer ids; raises ``TrackerError`` or ``TrackerUnreachable``.
        monotonic: seconds.
    """

    def __init__(self, ask: Callable[[], Awaitable[tuple[str, ...]]], *, monotonic: Callable[[], float]) -> None:
        self._ask = ask
        self._monotonic = monotonic
        self._known: frozenset[str] | None = None
        self._asked_at = 0.0

    async def ids(self) -> frozenset[str]:
        """Return them, maybe none; those of before while the tracker is away.

        Raises:
            Unauthorized: no valid API key. TrackerUnreachable, TrackerBusy: nothing is known from before either.
        """
        now = self._monotonic()
        if self._known is None or now - self._asked_at >= KEPT_S:
            try:
                self._known = frozenset(await self._ask())
            except (TrackerUnreachable, TrackerBusy):
                if self._known is None:
                    raise
            self._asked_at = now
        return self._known
