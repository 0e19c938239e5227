"""Contradictions in memory: who is heard, what is forgotten, and a whole network with a node that lies."""

from dataclasses import replace
from random import Random

from gpunode_protocol.geography import Position
from gpunode_protocol.identity import Identity, PeerId
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import MAX_DOUBTFUL_PLACES, RoundTrip
from gpunode_tracker.place_watch import MAX_OBSERVERS_OF_NODE, REMEMBERED_S, Observer, PlaceWatch
from gpunode_tracker.storage.nodes import StoredNode

from tests.tracker.parties import START_AT

FRANKFURT, TOKYO, PARIS = Position(50, 9), Position(36, 140), Position(49, 2)
NOW = float(START_AT)


def _peer(number: int) -> PeerId:
    return Identity.from_seed(number.to_bytes(32, "big")).peer_id


def _node(number: int, account: str | None = "") -> StoredNode:
    own = f"account {number}" if account == "" else account
    return StoredNode(_peer(number), own, None, None, None, None, None)


LIAR = _node(0)
NODES = {node.peer: node for node in (LIAR, *(_node(number) for number in range(1, 6)))}


def _trip(peer: str = LIAR.peer, rtt_ms: int = 3, position: Position | None = TOKYO, **changes: object) -> RoundTrip:
    place = {} if position is None else {"latitude": position.latitude, "longitude": position.longitude}
    return RoundTrip.model_validate({"peer": peer, "rtt_ms": rtt_ms, "region": Region.ASIA} | place | changes)


def _told(watch: PlaceWatch, *observers: int | StoredNode, trip: RoundTrip | None = None, now: float = NOW) -> None:
    for observer in observers:
        node = _node(observer) if isinstance(observer, int) else observer
        watch.note(Observer(node, FRANKFURT), [trip or _trip()], NODES, now)


def test_a_node_that_lies_about_its_place() -> None:
    """Three accounts near Frankfurt get its answers in 3 ms; two were not enough. It is told as new once."""
    watch = PlaceWatch()
    _told(watch, 1, 2)
    assert watch.judge(NOW) == ()
    _told(watch, 3)
    assert watch.judge(NOW) == (LIAR.peer,)
    assert watch.judge(NOW) == ()
    assert watch.doubtful == (LIAR.peer,)
    assert (watch.is_doubtful(LIAR.peer), watch.is_doubtful(_peer(1))) == (True, False)


def test_a_node_that_lies_about_its_region_only() -> None:
    """Without coordinates, or with the true ones beside it."""
    for position in (None, FRANKFURT):
        watch = PlaceWatch()
        _told(watch, 1, 2, 3, trip=_trip(position=position, region=Region.OCEANIA))
        assert watch.judge(NOW) == (LIAR.peer,)


def test_who_is_not_heard() -> None:
    """A node without an account, one of the same account, and one about itself or about nobody known here."""
    watch = PlaceWatch()
    _told(watch, 1, 2, _node(3, None), _node(4, LIAR.account_id), LIAR)
    _told(watch, 1, 2, 3, trip=_trip(_peer(99)))
    assert watch.judge(NOW) == ()


def test_round_trips_that_are_possible_prove_nothing() -> None:
    """They neither count nor take back what a shorter one proved: delay can be added."""
    watch = PlaceWatch()
    _told(watch, 1, 2, 3, trip=_trip(rtt_ms=250))
    assert watch.judge(NOW) == ()
    _told(watch, 1, 2, 3)
    _told(watch, 1, 2, 3, trip=_trip(rtt_ms=250))
    assert watch.judge(NOW) == (LIAR.peer,)


def test_what_geoip_allows_for() -> None:
    """Its radius counts for places that are its own word, of the observer and of the other."""
    near = Position(50, 20)
    vague = replace(LIAR, seen_latitude=50, seen_longitude=20, seen_accuracy_km=100)
    for node, is_doubted in ((LIAR, True), (vague, False)):
        watch = PlaceWatch()
        trip = _trip(position=near, region=Region.EUROPE, rtt_ms=1)
        for number in (1, 2, 3):
            watch.note(Observer(_node(number), FRANKFURT), [trip], {node.peer: node}, NOW)
        assert bool(watch.judge(NOW)) is is_doubted
    watch = PlaceWatch()
    for number in (1, 2, 3):
        seen = replace(_node(number), seen_latitude=50, seen_longitude=9, seen_accuracy_km=100)
        watch.note(Observer(seen, FRANKFURT), [trip], NODES, NOW)
    assert watch.judge(NOW) == ()


def test_a_corrected_place_is_believed_again() -> None:
    """As soon as one of three has measured anew."""
    watch = PlaceWatch()
    _told(watch, 1, 2, 3)
    watch.judge(NOW)
    _told(watch, 2, trip=_trip(position=PARIS, region=Region.EUROPE, rtt_ms=9))
    watch.judge(NOW)
    assert watch.doubtful == ()


def test_an_observer_that_corrects_its_own_place() -> None:
    """What it told before was its own error."""
    watch = PlaceWatch()
    _told(watch, 1, 2, 3)
    watch.note(Observer(_node(3), PARIS), [], NODES, NOW)
    assert watch.judge(NOW) == ()


def test_a_day_later_all_is_forgotten() -> None:
    """Unless somebody told it again."""
    watch = PlaceWatch()
    _told(watch, 1, 2, 3)
    assert watch.judge(NOW + REMEMBERED_S - 1) == (LIAR.peer,)
    watch.judge(NOW + REMEMBERED_S)
    assert watch.doubtful == ()
    assert not watch._told


def test_no_account_drowns_the_others() -> None:
    """Of too many observers the oldest of the loudest account goes."""
    watch = PlaceWatch()
    _told(watch, 1, 2, 3)
    _told(watch, *(_node(1_000 + number, "loud") for number in range(MAX_OBSERVERS_OF_NODE)), now=NOW + 1)
    assert len(watch._told[LIAR.peer]) == MAX_OBSERVERS_OF_NODE
    assert watch.judge(NOW) == (LIAR.peer,)
    assert watch._doubtful[LIAR.peer] == 4


def test_the_published_list_is_bounded() -> None:
    """The most contradicted are on it."""
    watch = PlaceWatch()
    watch._doubtful = {_peer(number): 3 for number in range(MAX_DOUBTFUL_PLACES + 5)}
    assert watch.doubtful == tuple(_peer(number) for number in range(MAX_DOUBTFUL_PLACES))


def test_a_liar_among_honest_nodes() -> None:
    """All measure all. The liar finds that everybody else is in the wrong place; only it is doubted."""
    random, watch = Random(1), PlaceWatch()
    stated = {peer: TOKYO if peer == LIAR.peer else PARIS for peer in NODES}
    for observer in NODES.values():
        trips = [
            _trip(peer, random.randint(1, 20), stated[peer], region=Region.ASIA if peer == LIAR.peer else Region.EUROPE)
            for peer in NODES
        ]
        watch.note(Observer(observer, stated[observer.peer]), trips, NODES, NOW)
    assert watch.judge(NOW) == (LIAR.peer,)
