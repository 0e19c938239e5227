import pytest
from gpunode._own_nodes import KEPT_S, OwnNodes
from gpunode.errors import TrackerUnreachable, Unauthorized


class _Tracker:
    """Says who is linked, or why it cannot."""

    def __init__(self) -> None:
        self.nodes: tuple[str, ...] = ("a", "b")
        self.error: Exception | None = None
        self.asked = 0

    async def ask(self) -> tuple[str, ...]:
        """Return the nodes."""
        self.asked += 1
        if self.error:
            raise self.error
        return self.nodes


async def test_the_tracker_is_asked_once_a_minute() -> None:
    """A node that was linked meanwhile is known then."""
    tracker, now = _Tracker(), [100.0]
    own = OwnNodes(tracker.ask, monotonic=lambda: now[0])
    assert [await own.ids(), await own.ids()] == [{"a", "b"}] * 2
    assert tracker.asked == 1
    tracker.nodes = ()
    now[0] += KEPT_S
    assert await own.ids() == frozenset()


async def test_without_the_tracker_the_last_word_holds() -> None:
    """There must be one; and who has no key is told so."""
    tracker, now = _Tracker(), [100.0]
    own = OwnNodes(tracker.ask, monotonic=lambda: now[0])
    tracker.error = TrackerUnreachable("down")
    with pytest.raises(TrackerUnreachable):
        await own.ids()
    tracker.error = None
    await own.ids()
    tracker.error = TrackerUnreachable("down")
    now[0] += KEPT_S
    assert await own.ids() == {"a", "b"}
    tracker.error = Unauthorized("no key", status=401)
    now[0] += KEPT_S
    with pytest.raises(Unauthorized):
        await own.ids()
