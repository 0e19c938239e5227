"""How far the nearest node with room is."""

from gpunode_protocol.regions import Region
from gpunode_tracker.dispatch.nearest_room import KNOWN_FOR_S, NearestRoom
from gpunode_tracker.storage.queue_heads import Head

from tests.tracker.dispatch.test_preference import ASIA, EUROPE, FULL, choice

HEAD = Head("llm/*/*", 0, "europe")


def _live(_lane: str) -> frozenset[Region]:
    return frozenset({EUROPE, ASIA})


def test_before_anybody_was_asked() -> None:
    """Whoever lives counts."""
    assert NearestRoom(_live).way_km(HEAD, 0.0) == 0
    assert NearestRoom(lambda _: ()).way_km(HEAD, 0.0) is None


def test_nodes_that_are_full_do_not_count() -> None:
    """For as long as their word is good."""
    room = NearestRoom(_live)
    in_asia = room.note(HEAD, [choice(1, region=EUROPE, probe=FULL), choice(2, region=ASIA)], 0.0)
    assert in_asia is not None
    assert in_asia > 9_000
    assert room.way_km(HEAD, KNOWN_FOR_S - 0.1) == in_asia
    assert room.way_km(HEAD, KNOWN_FOR_S) == 0
    assert room.note(HEAD, [], 0.0) is None
    assert room.way_km(HEAD, 0.1) is None


def test_what_is_old_is_forgotten() -> None:
    """Names of models are made up by anybody."""
    room = NearestRoom(_live)
    room.note(HEAD, [], 0.0)
    room.forget_old(KNOWN_FOR_S)
    assert not room._looks
