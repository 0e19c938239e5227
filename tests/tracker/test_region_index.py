"""The index of live nodes: newest advert wins, silence and expiry end it."""

import random

from gpunode_protocol.adverts import Advert, ModelAdvert
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.geography import REFERENCE_POINTS, distances_km
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_tracker.region_index import MAX_ANSWER_NODES, MAX_LISTED_OF_PEER, RegionIndex

from tests.tracker.parties import MODEL, START_AT, advert

NETWORK = "0" * 40
TRACKER = Identity.from_seed(b"t" * 32)
NODE = Identity.from_seed(b"n" * 32)
CERTIFICATE = sign(TRACKER, certificate_for(NODE.peer_id, network=NETWORK, kid="k", now=START_AT))


def _advert(sequence: int = 1, node: Identity = NODE, **changes: object) -> Signed[Advert]:
    return advert(node, CERTIFICATE.envelope, NETWORK, sequence=sequence, **changes)  # type: ignore[arg-type]  # -- any field


def _index() -> RegionIndex:
    return RegionIndex(random.Random(1))


def test_found_by_task_model_and_region() -> None:
    """Every given condition must hold."""
    index = _index()
    index.update(_advert(), START_AT)
    assert len(index.find(START_AT, task=Task.LLM, model=MODEL, region=Region.EUROPE)) == 1
    assert len(index.find(START_AT)) == 1
    assert index.find(START_AT, task=Task.WHISPER) == []
    assert index.find(START_AT, model="other") == []
    assert index.find(START_AT, region=Region.ASIA) == []


def test_an_older_advert_never_replaces_a_newer_one() -> None:
    """A replayed advert changes nothing, also after the node has left."""
    index = _index()
    index.update(_advert(5), START_AT)
    assert not index.update(_advert(4), START_AT)
    index.remove(NODE.peer_id)
    assert not index.update(_advert(4), START_AT)
    assert not index.update(_advert(5), START_AT)
    assert index.find(START_AT) == []
    assert index.update(_advert(6), START_AT)
    assert len(index.find(START_AT)) == 1


def test_who_waits_for_a_node_hears_of_it() -> None:
    """Once when it begins to serve a model, and when it does so again; not at each advert, nor when it leaves."""
    index, heard = _index(), list[int]()
    index.on_new = lambda: heard.append(1)
    for sequence in (1, 2, 3):
        index.update(_advert(sequence), START_AT)
    assert len(heard) == 1
    index.update(_advert(4, tombstone=True), START_AT)
    index.update(_advert(3), START_AT)
    assert len(heard) == 1
    index.update(_advert(5), START_AT)
    assert len(heard) == 2
    index.remove(NODE.peer_id)
    index.update(_advert(6), START_AT)
    assert len(heard) == 3


def test_a_tombstone_takes_the_node_off() -> None:
    """A leaving node is gone at once."""
    index = _index()
    index.update(_advert(1), START_AT)
    index.update(_advert(2, tombstone=True), START_AT)
    assert index.find(START_AT) == []


def test_two_missed_heartbeats() -> None:
    """A silent node is off after 120 s, before its advert expires; a sign of life keeps it."""
    index = _index()
    index.update(_advert(), START_AT)
    assert len(index.find(START_AT + 120)) == 1
    assert index.find(START_AT + 121) == []
    index.hear(NODE.peer_id, START_AT + 100)
    assert len(index.find(START_AT + 121)) == 1


def test_expiry() -> None:
    """An expired advert is not given out, and forgotten when the index is pruned."""
    index = _index()
    index.update(_advert(), START_AT)
    index.hear(NODE.peer_id, START_AT + 150)
    assert index.find(START_AT + 150) == []
    index.prune(START_AT + 150)
    assert index.update(_advert(1), START_AT)


def test_regions_are_counted() -> None:
    """All five regions are listed, with nodes and models."""
    index = _index()
    index.update(_advert(), START_AT)
    assert {region: peers for region, peers in index.peers(START_AT).items() if peers} == {
        Region.EUROPE: {NODE.peer_id}
    }
    counts = {count.region: (count.nodes, count.models) for count in index.regions(START_AT)}
    assert counts[Region.EUROPE] == (1, {MODEL: 1})
    assert [counts[region] for region in Region if region is not Region.EUROPE] == [(0, {})] * 4


def test_regions_say_how_far_they_are_apart() -> None:
    """In the order of the five, each with its reference point and the way to every one."""
    counts = _index().regions(START_AT)
    assert [count.region for count in counts] == list(Region)
    for count in counts:
        point = REFERENCE_POINTS[count.region]
        assert (count.latitude, count.longitude) == (point.latitude, point.longitude)
        assert count.distances_km == distances_km(point)


def test_long_answers_are_samples() -> None:
    """No answer has more than 256 adverts."""
    index = _index()
    for number in range(MAX_ANSWER_NODES + 5):
        index.update(_advert(node=Identity.from_seed(number.to_bytes(32, "big"))), START_AT)
    assert len({found.body.peer for found in index.find(START_AT)}) == MAX_ANSWER_NODES


def test_revoked_certificates_take_nodes_off() -> None:
    """Adverts under a revoked certificate are not given out any more."""
    index = _index()
    index.update(_advert(), START_AT)
    index.remove_revoked(frozenset({"another"}))
    assert len(index.find(START_AT)) == 1
    index.remove_revoked(frozenset({CERTIFICATE.body.serial}))
    assert index.find(START_AT) == []


def test_a_peer_that_floods_fills_only_its_own_places() -> None:
    """A node may advertise 4 models; of more, also under names that it makes up, the newest stay."""
    index = _index()
    other = Identity.from_seed(b"o" * 32)
    index.update(_advert(node=other), START_AT)
    for number in range(100):
        model = _advert().body.model.model_copy(update={"name": f"model-{number}"})
        index.update(_advert(number + 1, model=model), START_AT)
    found = index.find(START_AT)
    assert len(found) == MAX_LISTED_OF_PEER + 1
    assert {advert.body.model.name for advert in found} >= {"model-99", MODEL}


def test_nothing_is_kept_of_models_that_nobody_serves_any_more() -> None:
    """Models are found by name without a look at all others, and names come and go."""
    index = _index()
    for sequence in range(3 * MAX_LISTED_OF_PEER):
        model = ModelAdvert(**{**dict(_advert().body.model), "name": f"model-{sequence}"})
        index.update(_advert(sequence, model=model), START_AT)
    assert len(index._peers_of) == MAX_LISTED_OF_PEER
    assert index.find(START_AT, model="model-0") == []
    assert len(index.find(START_AT, model=f"model-{3 * MAX_LISTED_OF_PEER - 1}")) == 1
    index.prune(START_AT + 150)
    assert index._peers_of == {}
    assert index._listed == {}


def test_what_another_replica_knows() -> None:
    """Newer adverts and later signs of life count, and who left there has left."""
    index = _index()
    assert index.sequence_of(NODE.peer_id, Task.LLM, MODEL) == -1
    index.merge(_advert(5, expires_at=START_AT + 1_000), START_AT, live=True)
    index.merge(_advert(4), START_AT, live=True)
    assert index.sequence_of(NODE.peer_id, Task.LLM, MODEL) == 5
    index.merge_life(NODE.peer_id, Task.LLM, MODEL, 5, heard_at=START_AT + 100, live=True)
    assert len(index.find(START_AT + 200)) == 1
    version = index.version
    index.merge_life(NODE.peer_id, Task.LLM, MODEL, 5, heard_at=START_AT, live=False)
    assert index.find(START_AT + 200) == []
    assert index.version > version
