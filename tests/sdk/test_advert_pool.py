from gpunode._advert_pool import MAX_INDEX_AGE_S, AdvertPool
from gpunode._network import Network
from gpunode._selection import Wanted
from gpunode.routing import Limits
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.sdk.world import EPOCH, MODEL, Keys

KEYS = Keys()
NODE = Identity.from_seed(b"\x40" * 32)


def _pool(wanted: Wanted | None = None) -> AdvertPool:
    network = Network(KEYS.network_info(), KEYS.trust, KEYS.revocations().body)
    return AdvertPool(network, wanted or Wanted(Task.LLM, MODEL), now=EPOCH)


def test_a_node_in_two_sources_is_one_candidate() -> None:
    """With its newest advert, found in the DHT."""
    pool = _pool()
    pool.add_verified_by_node(KEYS.advert(NODE, sequence=2), "dht")
    pool.add_index(KEYS.index(KEYS.advert(NODE, sequence=3)).index)
    pool.add_verified_by_node(KEYS.advert(NODE, sequence=1), "dht")
    (candidate,) = pool.found().candidates
    assert (candidate.body.sequence, candidate.source, pool.count) == (3, "dht", 1)


def test_what_was_found_does_not_change_when_more_comes_in() -> None:
    """Whoever went on with it is not surprised."""
    pool = _pool()
    before = pool.found()
    pool.add_verified_by_node(KEYS.advert(NODE), "dht")
    pool.reasons["late"] += 1
    assert (before.candidates, before.reasons) == ([], {})


def test_an_old_index_brings_nobody() -> None:
    """It is a replay; why it is of no use is counted."""
    pool = _pool()
    pool.add_index(KEYS.index(KEYS.advert(NODE), issued_at=EPOCH - MAX_INDEX_AGE_S - 1).index)
    assert (pool.count, pool.found().reasons) == (0, {"the tracker's index is old": 1})


def test_an_expired_advert_counts_only_where_it_was_kept() -> None:
    """A node that was good before may be there all the same."""
    pool = _pool()
    expired = KEYS.advert(NODE, expires_at=EPOCH)
    pool.add_verified_by_node(expired, "dht")
    assert pool.count == 0
    pool.add_verified_by_node(expired, "cache")
    assert pool.count == 1


def test_where_candidates_are() -> None:
    """In a region, or anywhere."""
    pool = _pool()
    assert not pool.has_any_in(None)
    pool.add_verified_by_node(KEYS.advert(NODE, region=Region.AFRICA), "index")
    assert [pool.has_any_in(region) for region in (Region.AFRICA, None, Region.ASIA)] == [True, True, False]


def test_a_node_that_may_not_do_it_is_counted_once() -> None:
    """However many sources tell of it."""
    pool = _pool(Wanted(Task.LLM, MODEL, limits=Limits(deny_nodes=frozenset({NODE.peer_id}))))
    for source in ("dht", "index"):
        pool.add_verified_by_node(KEYS.advert(NODE), source)  # type: ignore[arg-type]  # -- a Source each
    assert (pool.count, pool.found().excluded) == (0, {"is on the list of denied nodes": 1})


def test_what_is_held_against_a_node_excludes_it() -> None:
    """Whatever is wanted; counted once, with the reason."""
    network = Network(KEYS.network_info(), KEYS.trust, KEYS.revocations().body)
    pool = AdvertPool(network, Wanted(Task.LLM, MODEL), now=EPOCH, held_against={NODE.peer_id: "lied"}.get)
    pool.add_verified_by_node(KEYS.advert(NODE), "dht")
    pool.add_verified_by_node(KEYS.advert(NODE), "cache")
    assert (pool.count, pool.found().excluded) == (0, {"lied": 1})
