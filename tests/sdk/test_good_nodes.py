import json
from pathlib import Path

from gpunode._good_nodes import KEPT_S, GoodNodes
from gpunode_protocol.identity import Identity

from tests.sdk.world import EPOCH, Keys

KEYS = Keys()
ADVERTS = [KEYS.advert(Identity.from_seed(number.to_bytes(32, "big"))) for number in range(1, 41)]


def _nodes(folder: Path, now: float = EPOCH) -> GoodNodes:
    return GoodNodes(folder / "nodes.json", clock=lambda: now)


def test_good_nodes_outlive_the_process_the_latest_first(tmp_path: Path) -> None:
    """With their adverts."""
    nodes = _nodes(tmp_path)
    for advert in (*ADVERTS[:3], ADVERTS[0]):
        nodes.remember(advert)
    kept = [advert.body.peer for advert in nodes.all()]
    assert kept == [ADVERTS[number].body.peer for number in (0, 2, 1)]
    assert set(kept) == {advert.body.peer for advert in _nodes(tmp_path).all()}


def test_no_more_than_32_are_kept(tmp_path: Path) -> None:
    """The ones that were good longest ago give way."""
    nodes = _nodes(tmp_path)
    for advert in ADVERTS:
        nodes.remember(advert)
    kept = [advert.body.peer for advert in _nodes(tmp_path).all()]
    assert kept == [advert.body.peer for advert in reversed(ADVERTS[-32:])]


def test_a_node_that_failed_is_dropped(tmp_path: Path) -> None:
    """For later runs too."""
    nodes = _nodes(tmp_path)
    nodes.remember(ADVERTS[0])
    nodes.forget(ADVERTS[0])
    nodes.forget(ADVERTS[1])
    assert _nodes(tmp_path).all() == []


def test_after_a_day_a_hint_is_worth_nothing(tmp_path: Path) -> None:
    """Addresses of homes change."""
    _nodes(tmp_path).remember(ADVERTS[0])
    expires_at = ADVERTS[0].body.expires_at
    assert len(_nodes(tmp_path, expires_at + KEPT_S).all()) == 1
    assert _nodes(tmp_path, expires_at + KEPT_S + 1).all() == []


def test_damaged_entries_are_left_out(tmp_path: Path) -> None:
    """Not base64, not an advert, not signed by its node."""
    nodes = _nodes(tmp_path)
    nodes.remember(ADVERTS[0])
    path = tmp_path / "nodes.json"
    (good,) = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps([good[:-8] + "AAAAAAA=", "%%%", "AAAA", 7, good]), encoding="utf-8")
    assert [advert.body.peer for advert in _nodes(tmp_path).all()] == [ADVERTS[0].body.peer]


def test_addresses_are_ways_into_the_mesh(tmp_path: Path) -> None:
    """Of the latest four, direct ones only."""
    nodes = _nodes(tmp_path)
    relayed = "/ip4/11.0.0.1/tcp/4001/p2p/12D3KooWAccLUMYXzMmqDpo7c3bakCgaJo6KoRE9unDSSQpRmyep/p2p-circuit"
    nodes.remember(KEYS.advert(Identity.from_seed(b"\x50" * 32), addresses=(relayed,)))
    for advert in ADVERTS[:5]:
        nodes.remember(advert)
    addresses = nodes.addresses()
    assert addresses == tuple(f"/ip4/127.0.0.1/tcp/4001/p2p/{ADVERTS[number].body.peer}" for number in (4, 3, 2, 1))
