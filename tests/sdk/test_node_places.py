"""With places by hand; whole jobs: see ``test_seats``."""

import asyncio
import itertools

from gpunode._node_places import LEAST_SHUT_S, LONGEST_SHUT_S, SHUT_S, TRIAL_S, NodePlaces, Place
from gpunode_protocol.identity import Identity

from tests.node.virtual_time import virtual_time

ONE, TWO = (Identity.from_seed(bytes([number]) * 32).peer_id for number in (3, 4))


def _wait(places: NodePlaces, *nodes: str, is_urgent: bool = False) -> "asyncio.Task[Place]":
    return asyncio.ensure_future(places.wait([node for node in (ONE, TWO) if node in nodes], is_urgent=is_urgent))


def test_a_node_has_room_until_all_places_are_taken() -> None:
    """A place that is given up twice was one."""
    places = NodePlaces(limit=2)
    taken = [places.take(ONE), places.take(ONE)]
    assert (places.has_room(ONE), places.has_room(TWO), places.has_jobs(ONE), places.has_jobs(TWO)) == (
        False,
        True,
        True,
        False,
    )
    taken[0].release()
    taken[0].release()
    places.take(ONE)
    assert not places.has_room(ONE)


async def test_whoever_came_first_has_the_next_place() -> None:
    """Before whoever comes when it is free; the urgent before all."""
    places = NodePlaces(limit=1)
    place = places.take(ONE)
    order = []
    for waiting in (_wait(places, ONE), _wait(places, ONE), _wait(places, ONE, is_urgent=True)):
        order.append(waiting)
        await asyncio.sleep(0)
    for expected in (order[2], order[0], order[1]):
        place.release()
        assert not places.has_room(ONE)
        place = await expected


async def test_the_urgent_are_served_in_their_order() -> None:
    """Nobody waits longest for having waited long."""
    places = NodePlaces(limit=1)
    place = places.take(ONE)
    first, second = _wait(places, ONE, is_urgent=True), _wait(places, ONE, is_urgent=True)
    await asyncio.sleep(0)
    place.release()
    (await first).release()
    assert (await second).node == ONE


async def test_who_waits_again_keeps_its_place_in_the_line() -> None:
    """A node that refused it has not served it."""
    places = NodePlaces(limit=1)
    place, number = places.take(ONE), places.number()
    later = _wait(places, ONE)
    await asyncio.sleep(0)
    again = asyncio.ensure_future(places.wait([ONE], number=number))
    await asyncio.sleep(0)
    place.release()
    (await again).release()
    assert (await later).node == ONE


async def test_a_node_to_be_avoided_is_taken_only_if_there_is_no_other() -> None:
    """What is to be avoided is asked when a place is free, not when the waiting begins."""
    places, avoided = NodePlaces(limit=1), set[str]()
    at_one, at_two = places.take(ONE), places.take(TWO)
    both = asyncio.ensure_future(places.wait([ONE, TWO], avoided=lambda: avoided))
    one = asyncio.ensure_future(places.wait([ONE], avoided=lambda: avoided))
    await asyncio.sleep(0)
    avoided.add(ONE)
    at_one.release()
    assert (await one).node == ONE
    at_two.release()
    assert (await both).node == TWO


@virtual_time
async def test_a_node_that_is_avoided_no_longer_is_tried_by_one_after_the_other() -> None:
    """Without anything that ends there: what it failed in was the last."""
    now = asyncio.get_running_loop().time
    places, avoided = NodePlaces(limit=8), {ONE}
    at_one, *_at_two = places.take(ONE), *(places.take(TWO) for _ in range(8))
    places.take(ONE).refused(0.0)
    both = [asyncio.ensure_future(places.wait([TWO, ONE], avoided=lambda: avoided)) for _ in range(3)]
    await asyncio.sleep(0)
    at_one.release()
    await asyncio.sleep(10 * TRIAL_S)
    assert not any(task.done() for task in both)
    avoided.clear()
    began_at, came_at = now(), []
    for task in both:
        assert (await task).node == ONE
        came_at.append(now() - began_at)
    assert [later - sooner for sooner, later in itertools.pairwise(came_at)] == [TRIAL_S, TRIAL_S]
    assert came_at[0] <= TRIAL_S


async def test_the_first_of_several_nodes_is_taken() -> None:
    """One place is enough."""
    places = NodePlaces(limit=1)
    places.take(ONE)
    two = places.take(TWO)
    waiting = _wait(places, ONE, TWO)
    await asyncio.sleep(0)
    two.release()
    assert (await waiting).node == TWO


async def test_of_several_nodes_with_room_the_better_is_taken() -> None:
    """They are named best first."""
    places = NodePlaces(limit=1)
    assert [(await places.wait(nodes)).node for nodes in ((TWO, ONE), (TWO, ONE))] == [TWO, ONE]


async def test_who_waits_no_longer_gets_nothing() -> None:
    """Also where the place comes in the same moment."""
    places = NodePlaces(limit=1)
    place = places.take(ONE)
    gone, late = _wait(places, ONE), _wait(places, ONE)
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    place.release()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert (places.has_room(ONE), places.has_jobs(ONE)) == (True, False)


@virtual_time
async def test_a_node_that_refused_is_shut_for_a_while() -> None:
    """As long as it said, a minute at most."""
    now = asyncio.get_running_loop().time
    places = NodePlaces()
    for told_s, shut_s in ((None, SHUT_S), (3.0, 3.0), (3_000.0, LONGEST_SHUT_S), (-1.0, LEAST_SHUT_S)):
        began_at = now()
        places.take(ONE).refused(told_s)
        assert not places.has_room(ONE)
        (await _wait(places, ONE)).release()
        assert now() - began_at == shut_s


@virtual_time
async def test_a_node_that_refused_has_room_when_a_stream_ends_there() -> None:
    """That was what it waited for."""
    places = NodePlaces()
    there, further = places.take(ONE), places.take(ONE)
    places.take(ONE).refused(60.0)
    further.refused(50.0)
    further.release()
    assert not places.has_room(ONE)
    there.release()
    assert places.has_room(ONE)


async def test_a_node_that_refused_has_room_for_one_when_one_stream_ends_there() -> None:
    """Not for all that wait: the others would be refused again."""
    places = NodePlaces()
    there = [places.take(ONE) for _ in range(3)]
    places.take(ONE).refused(60.0)
    there[0].release()
    places.take(ONE)
    assert not places.has_room(ONE)
