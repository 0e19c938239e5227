"""Whether somebody else registers with this one's key: the tracker keeps forgetting the tokens that it gave. Pure."""

from collections import deque

LOSSES = 3
"""Tokens lost; one or two are lost to a tracker that was restored, or to a second start that ended soon."""
WITHIN_S = 180.0
"""Twins take the token from each other at every heartbeat, of which there is one a minute at least."""

KEY_ELSEWHERE = (
    "Another node or worker registers with this one's key, again and again: the tracker knows only whichever was last. "
    "Stop one of them, or start it with a data directory of its own (--data-dir), not a copy: there it gets a new key."
)


class TokenLosses:
    """Remembers when the tracker did not know its own token any more."""

    def __init__(self) -> None:
        self._at: deque[float] = deque(maxlen=LOSSES)

    def note(self, now: float) -> bool:
        """Note a loss; return whether there is a problem now that there was not before. ``now``: monotonic seconds."""
        before = self.problem(now)
        self._at.append(now)
        return bool(self.problem(now)) and not before

    def problem(self, now: float) -> str:
        """Return what is wrong and what to do about it; empty when tokens last. ``now``: monotonic seconds."""
        return KEY_ELSEWHERE if len(self._at) == LOSSES and now - self._at[0] <= WITHIN_S else ""
