import asyncio
from collections.abc import Sequence

import pytest
from gpunode import _node_queue
from gpunode._node_queue import NodeQueue
from gpunode._probing import OwnJob
from gpunode._selection import Candidate, Choice
from gpunode_protocol.identity import Identity

from tests.node.virtual_time import virtual_time
from tests.sdk.world import Keys

KEYS = Keys()
ONE, TWO, THREE = (
    Choice(Candidate(KEYS.advert(Identity.from_seed(bytes([number]) * 32)), "dht")) for number in (3, 4, 5)
)

COUNTED = OwnJob(0.0)


def _never_busy(_: str) -> float:
    return 0.0


class _Field:
    """Finds what it is given, one list a look; ``now`` moves by a second at each."""

    def __init__(self, *looks: Sequence[Choice]) -> None:
        self.looks = list(looks)
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def find(self) -> Sequence[Choice]:
        self.now += 1
        return self.looks.pop(0) if self.looks else ()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_node_queue, "FIRST_PAUSE_S", 0.0)


def test_the_first_node_was_told_of_once() -> None:
    """Whoever is asked after it is counted anew."""
    queue = NodeQueue((ONE, TWO), COUNTED, _Field().find, monotonic=lambda: 0.0)
    assert [queue.take_counted(), queue.take_counted()] == [COUNTED, None]


def test_best_first_and_some_again() -> None:
    """Until nobody is left."""
    field = _Field()
    queue = NodeQueue((ONE, TWO), COUNTED, field.find, monotonic=field.monotonic)
    assert queue.next() is ONE
    queue.put_first(ONE)
    assert [queue.next(), queue.next(), queue.next()] == [ONE, TWO, None]


def test_the_best_that_fits() -> None:
    """The others keep their places."""
    field = _Field()
    queue = NodeQueue((ONE, TWO, THREE), COUNTED, field.find, monotonic=field.monotonic)
    assert (queue.is_next(lambda choice: choice is TWO), queue.next(lambda choice: choice is TWO)) == (False, TWO)
    assert queue.next(lambda _: False) is None
    assert (queue.is_next(lambda choice: choice is ONE), list(queue)) == (True, [ONE, THREE])
    assert (queue.was_first(ONE), queue.was_first(TWO)) == (True, False)


def test_who_does_not_fit_is_left_out() -> None:
    """And it is told whether anybody is left."""
    field = _Field()
    queue = NodeQueue((ONE, TWO), COUNTED, field.find, monotonic=field.monotonic)
    assert queue.keep(lambda choice: choice is TWO)
    assert not queue.keep(lambda choice: choice is ONE)
    assert queue.next() is None


def test_the_doubtful_come_last() -> None:
    """Otherwise the order stays."""
    field = _Field()
    queue = NodeQueue((ONE, TWO, THREE), COUNTED, field.find, monotonic=field.monotonic)
    assert queue.has(lambda choice: choice is ONE)
    queue.put_last(lambda choice: choice is ONE)
    assert [queue.next(), queue.next(), queue.next()] == [TWO, THREE, ONE]


async def test_it_looks_until_somebody_fits() -> None:
    """Those that failed before come last, and may be asked once more."""
    field = _Field((), (ONE,), (TWO, THREE))
    queue = NodeQueue((), COUNTED, field.find, monotonic=field.monotonic)
    assert await queue.refill(lambda choice: choice is not ONE, failed={TWO.node}, until=10, busy_until=_never_busy)
    assert [queue.next(), queue.next()] == [THREE, TWO]


async def test_it_gives_up_in_the_end() -> None:
    """Without a look when the time is over."""
    field = _Field()
    queue = NodeQueue((), COUNTED, field.find, monotonic=field.monotonic)
    assert not await queue.refill(lambda _: True, failed=(), until=3, busy_until=_never_busy)
    assert field.now == 3
    field.looks = [(ONE,)]
    assert not await queue.refill(lambda _: True, failed=(), until=3, busy_until=_never_busy)


async def test_a_busy_node_is_asked_when_it_wants_to_be() -> None:
    """Not before, and the others meanwhile."""
    field = _Field((ONE,), (ONE, TWO), (ONE,), (ONE,), (ONE,))
    queue = NodeQueue((), COUNTED, field.find, monotonic=field.monotonic)
    busy = {ONE.node: 5.0}
    for expected, at in ((TWO, 2.0), (ONE, 5.0)):
        assert await queue.refill(lambda _: True, failed=(), until=10, busy_until=lambda node: busy.get(node, 0.0))
        assert (queue.next(), queue.next(), field.now) == (expected, None, at)


async def test_a_busy_node_is_asked_once_at_the_end_where_nobody_else_is() -> None:
    """It may have room all the same; then the time is over."""
    field = _Field((ONE,), (ONE,))
    queue = NodeQueue((), COUNTED, field.find, monotonic=field.monotonic)
    assert await queue.refill(lambda _: True, failed=(), until=2, busy_until=lambda _: 60.0)
    assert (queue.next(), field.now) == (ONE, 2.0)
    assert not await queue.refill(lambda _: True, failed=(), until=2, busy_until=lambda _: 60.0)


@virtual_time
async def test_pauses_grow_from_look_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also from one call to the next, until what is asked for has changed."""
    monkeypatch.undo()
    clock, looks = asyncio.get_running_loop().time, list[float]()

    async def find() -> Sequence[Choice]:
        looks.append(clock())
        return (ONE,)

    queue, began_at = NodeQueue((), COUNTED, find, monotonic=clock), clock()
    for number in range(6):
        if number == 5:
            queue.shorten_pauses()
        assert await queue.refill(lambda _: True, failed=(), until=began_at + 60, busy_until=_never_busy)
        queue.next()
    pauses = [later - sooner for sooner, later in zip([began_at, *looks], looks, strict=False)]
    assert pauses == pytest.approx([0.25, 0.5, 1.0, 2.0, 2.0, 0.25])
