"""What the node says of itself."""

from dataclasses import replace
from pathlib import Path

import pytest
from gpunode_node.advert_builder import AdvertBuilder, Standing, advertised_addresses, content_digest
from gpunode_protocol.advert_validation import AdvertRecord, validate_advert_record
from gpunode_protocol.adverts import MAX_ADVERT_BYTES, Gpu, pack_advert
from gpunode_protocol.dht_keys import keys_of_advert
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from tests.node.fake_tracker import certificate
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NETWORK, NODE, TRUST, Node, running_node

PEER = f"/p2p/{NODE.peer_id}"
RELAYED = f"/ip4/11.0.0.9/tcp/1/p2p/{NODE.peer_id}/p2p-circuit"


def _standing(*addresses: str) -> Standing:
    return Standing(
        network=NETWORK,
        certificate=certificate(),
        region=Region.EUROPE,
        country="DE",
        gpu=Gpu(model="NVIDIA GeForce RTX 4090", count=1, memory_mb=24_564),
        addresses=tuple(f"{address}{PEER}" for address in addresses),
    )


def _builder() -> AdvertBuilder:
    return AdvertBuilder(NODE, lambda: EPOCH)


@virtual_time
async def test_an_advert_is_acceptable(tmp_path: Path) -> None:
    """Every storing node accepts it under every key, and so it does the tombstone."""
    async with running_node(tmp_path) as node:
        builder = _builder()
        for tombstone in (False, True):
            advert = builder.build(node.model, _standing("/ip4/11.0.0.1/tcp/4001"), tombstone=tombstone)
            body = advert.body
            for key in keys_of_advert(NETWORK, Task.LLM, "fake", Region.EUROPE, NODE.peer_id, (0, 2)):
                record = AdvertRecord(str(key), NODE.peer_id, pack_advert(advert.envelope), body.expires_at)
                validate_advert_record(record, TRUST, None, now=EPOCH)
        assert body.tombstone
        assert body.sandbox == node.model.info.confinement.level == 2


@virtual_time
async def test_coordinates_fit_beside_everything_else(tmp_path: Path) -> None:
    """With long addresses too; a move is worth an announcement, and who knows no place states none."""
    async with running_node(tmp_path) as node:
        plain = _standing(*(f"/dns4/{letter * 140}/tcp/4001" for letter in "abcdefgh"))
        placed = replace(plain, position=Position(-34, 151))
        here, nowhere = _builder().build(node.model, placed), _builder().build(node.model, plain)
        assert (here.body.latitude, here.body.longitude) == (-34, 151)
        assert (nowhere.body.latitude, nowhere.body.longitude) == (None, None)
        assert len(pack_advert(here.envelope)) <= MAX_ADVERT_BYTES
        assert here.body.addresses
        assert content_digest(here.body) != content_digest(nowhere.body)


@virtual_time
async def test_a_tombstone_outlives_the_advert(tmp_path: Path) -> None:
    """A later sequence and a later expiry replace what was announced."""
    async with running_node(tmp_path) as node:
        builder = _builder()
        advert = builder.build(node.model, _standing()).body
        tombstone = builder.build(node.model, _standing(), tombstone=True).body
        assert tombstone.sequence > advert.sequence
        assert tombstone.expires_at > advert.expires_at


@virtual_time
async def test_sequences_grow_across_restarts(tmp_path: Path) -> None:
    """Unix milliseconds, and one more where the clock stands."""
    async with running_node(tmp_path) as node:
        builder = _builder()
        first = [builder.build(node.model, _standing()).body.sequence for _ in range(2)]
        assert first == [EPOCH * 1000, EPOCH * 1000 + 1]
        later = AdvertBuilder(NODE, lambda: EPOCH + 1).build(node.model, _standing()).body.sequence
        assert later > max(first)


@virtual_time
async def test_addresses_give_way(tmp_path: Path) -> None:
    """An advert never exceeds 1,400 bytes; the last addresses are left out."""
    many = [f"/dns4/{'x' * 120}{number}.example/tcp/4001" for number in range(8)]
    async with running_node(tmp_path) as node:
        advert = _builder().build(node.model, _standing(*many))
        assert len(pack_advert(advert.envelope)) <= MAX_ADVERT_BYTES
        assert 0 < len(advert.body.addresses) < 8
        assert list(advert.body.addresses) == many[: len(advert.body.addresses)]


@virtual_time
async def test_the_load_is_no_news(tmp_path: Path) -> None:
    """Load, round trips, sequence, expiry and certificate do not count as a change; an address does."""
    async with running_node(tmp_path) as node:
        builder = _builder()
        before = builder.build(node.model, _standing("/ip4/11.0.0.1/tcp/1")).body
        node.model.scheduler.enter(_ticket(), 0)
        standing = replace(_standing("/ip4/11.0.0.1/tcp/1"), rtt_ms={"asia": 150})
        after = builder.build(node.model, standing).body
        moved = builder.build(node.model, _standing("/ip4/11.0.0.1/tcp/2")).body
        assert (after.load.active, after.rtt_ms) == (1, {"asia": 150})
        assert content_digest(before) == content_digest(after) != content_digest(moved)


def _ticket() -> object:
    from gpunode_node.scheduler import Ticket

    return Ticket(priority=0, input_units=1, output_units=1, on_start=lambda: None, on_move=lambda *_: None)


@virtual_time
async def test_what_the_engine_measured(tmp_path: Path) -> None:
    """Speed in thousandths, slots, context and fingerprint are the engine's."""
    async with running_node(tmp_path) as node:
        model = _builder().build(node.model, _standing()).body.model
        assert model.speed.output_milliunits_per_s == 1_000_000
        assert (model.slots, model.context) == (4, 4096)
        assert model.fingerprint == node.engine.info.fingerprint


@pytest.mark.parametrize(
    ("addresses", "advertised"),
    [
        (["/ip4/127.0.0.1/tcp/1", "/ip4/11.0.0.1/tcp/1"], ["/ip4/11.0.0.1/tcp/1"]),
        (["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"], ["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"]),
        ([RELAYED, "/ip4/11.0.0.1/tcp/1"], ["/ip4/11.0.0.1/tcp/1", RELAYED]),
        ([f"/dns4/{'x' * 200}/tcp/1", "/ip4/11.0.0.1/tcp/1"], ["/ip4/11.0.0.1/tcp/1"]),
        (["/ip4/11.0.0.1/tcp/1"] * 2, ["/ip4/11.0.0.1/tcp/1"]),
    ],
    ids=["no loopback", "loopback alone", "direct first", "too long", "once"],
)
def test_advertised_addresses(addresses: list[str], advertised: list[str]) -> None:
    """Best first, without what leads nowhere."""
    assert advertised_addresses([address + PEER for address in addresses]) == advertised


@virtual_time
async def test_a_node_behind_relays_says_so(tmp_path: Path) -> None:
    """The path is relayed when every address is."""
    async with running_node(tmp_path) as node:
        assert _path(node, RELAYED) == "relayed"
        assert _path(node, RELAYED, "/ip4/11.0.0.1/tcp/1") == "direct"


def _path(node: Node, *addresses: str) -> str:
    return _builder().build(node.model, _standing(*addresses)).body.path
