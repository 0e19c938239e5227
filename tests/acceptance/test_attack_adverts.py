"""A certified peer against the adverts of others, at a running node and at the tracker, over real p2pd.

All that it sends is well-formed, and all but the forgeries is properly signed: what is refused is refused for what it
says, by the validator that every node runs.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from gpunode import InferenceClient
from gpunode_protocol.mesh._dht_protocol import MAX_RECORDS_PER_STORE
from gpunode_protocol.mesh._hivemind_api import PeerID
from gpunode_protocol.mesh.record_store import StoreLimits
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope

from tests.acceptance.attacker import MAX_GROWTH_BYTES, Attacker, Memory, RawRecord
from tests.acceptance.certified import REGION, CertifiedPeer, under
from tests.acceptance.network import MODEL, Network, status_of
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer

pytestmark = pytest.mark.acceptance

TEN_YEARS_S = 10 * 365 * 86_400
MUCH_NEWER = 2**50
"""A sequence; honest ones are milliseconds since 1970."""
FLOOD_REQUESTS = 8
"""Of 64 adverts each: twice what the rate lets through at once."""
SERVERS = ("node", "tracker")

Forge = Callable[[CertifiedPeer, str], RawRecord]


@pytest.fixture
def certified(attacker: Attacker) -> CertifiedPeer:
    """Return a fresh attacker that is a node by its papers."""
    return CertifiedPeer(attacker)


@pytest.fixture(scope="module")
def forger(network: Network) -> Iterator[CertifiedPeer]:
    """Return one that never has anything of its own stored."""
    attacker = _new_attacker(network)
    yield CertifiedPeer(attacker)
    attacker.stop()


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest) -> str:
    """Return who is asked to keep records: the victim itself, or the tracker."""
    server: str = request.param
    return server


def _new_attacker(network: Network) -> Attacker:
    return Attacker(network, Path(tempfile.mkdtemp(prefix="attacker-", dir=network.folder)))


def _dial(attacker: Attacker, place: str, victim: Daemon) -> PeerID:
    return attacker.dial(victim) if place == "node" else attacker.dial_tracker()


def _overwriting(certified: CertifiedPeer, victim: str) -> RawRecord:
    """An own advert in the victim's place."""
    return under(certified.record(certified.advert(sequence=MUCH_NEWER)), victim)


def _named_after_the_victim(certified: CertifiedPeer, victim: str) -> RawRecord:
    """A newer advert of the victim, signed by somebody else."""
    return certified.record(certified.advert(peer=victim, sequence=MUCH_NEWER))


def _with_a_false_signature(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert that nobody signed."""
    return certified.record(certified.advert(), signature=bytes(64))


def _outliving(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert for ten years."""
    return certified.record(certified.advert(expires_at=int(time.time()) + TEN_YEARS_S))


def _outliving_its_record(certified: CertifiedPeer, _: str) -> RawRecord:
    """Likewise, in a record that says less."""
    return replace(_outliving(certified, ""), expires_at=time.time() + 100)


def _longer_than_signed(certified: CertifiedPeer, _: str) -> RawRecord:
    """A record that says more than its advert."""
    record = certified.record(certified.advert(expires_at=int(time.time()) + 60))
    return replace(record, expires_at=time.time() + 170)


def _oversized(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert of more than 1,400 bytes."""
    return certified.record(certified.advert(addresses=("/dns4/" + 150 * "x",) * 8))


def _oversized_value(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert with 4 KiB behind it."""
    record = certified.record(certified.advert())
    return replace(record, packed=record.packed + bytes(4096))


def _of_another_region(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert where clients of another region look."""
    return certified.record(certified.advert(), certified.keys(certified.peer_id, region=Region.EUROPE)[0])


def _of_another_model(certified: CertifiedPeer, _: str) -> RawRecord:
    """An own advert of one model where clients look for another."""
    advert = certified.advert(model=certified.model("something-else"))
    return certified.record(advert, certified.keys(certified.peer_id)[0])


def _without_certificate(certified: CertifiedPeer, _: str) -> RawRecord:
    """A certificate that the tracker did not sign."""
    forged = Envelope(body=certified.certificate.body, signature=bytes(64))
    return certified.record(certified.advert(certificate=forged))


REFUSED: dict[Forge, str] = {
    _overwriting: "",  # not even looked at
    _named_after_the_victim: "malformed",
    _with_a_false_signature: "malformed",
    _outliving: "expires_too_late",
    _outliving_its_record: "expiry",
    _longer_than_signed: "expiry",
    _oversized: "malformed",
    _oversized_value: "too_large",
    _of_another_region: "key",
    _of_another_model: "key",
    _without_certificate: "malformed",
}


def test_a_certified_peer_may_announce_itself(victim: Daemon, place: str, certified: CertifiedPeer) -> None:
    """What is refused below is not refused for want of papers."""
    server = _dial(certified.attacker, place, victim)
    record = certified.record(certified.advert())
    assert certified.store(server, record) == [True]
    assert certified.peer_id in certified.found(server, certified.keys(certified.peer_id)[0])


@pytest.mark.parametrize("forge", REFUSED, ids=[forge.__name__ for forge in REFUSED])
def test_what_is_wrong_is_refused(victim: Daemon, place: str, forger: CertifiedPeer, forge: Forge) -> None:
    """Under the victim's name and the attacker's own; the victim's advert stays as it was."""
    server = _dial(forger.attacker, place, victim)
    peer_id, reason = victim.run["peer_id"], REFUSED[forge]
    before = status_of(victim)["mesh"]["records_rejected"]
    sequence = forger.found(server, forger.keys(peer_id)[0])[peer_id].sequence
    record = forge(forger, peer_id)
    assert forger.store(server, record, under(record, peer_id)) == [False, False]
    after = forger.found(server, forger.keys(peer_id)[0])
    assert forger.peer_id not in after
    assert sequence <= after[peer_id].sequence < MUCH_NEWER
    if reason and place == "node":
        assert status_of(victim)["mesh"]["records_rejected"][reason] > before.get(reason, 0)


def test_the_victims_own_advert_is_not_replayed(victim: Daemon, place: str, forger: CertifiedPeer) -> None:
    """It is valid, but neither its sender's nor to be had under its sender's name."""
    server = _dial(forger.attacker, place, victim)
    peer_id = victim.run["peer_id"]
    key = forger.keys(peer_id)[0]
    valid = forger.found(server, key)[peer_id]
    stolen = forger.raw(key, valid.value, valid.expires_at)
    assert forger.store(server, stolen, under(stolen, peer_id)) == [False, False]
    assert forger.peer_id not in forger.found(server, key)


def test_an_older_advert_replaces_no_newer_one(
    network: Network, victim: Daemon, place: str, certified: CertifiedPeer
) -> None:
    """Whoever kept it cannot bring it back, under either name, nor can its owner."""
    server, thief = _dial(certified.attacker, place, victim), _new_attacker(network)
    try:
        older, newer = (certified.record(certified.advert(sequence=sequence)) for sequence in (7, 8))
        assert certified.store(server, older) == [True]
        assert certified.store(server, newer) == [True]
        stolen = under(older, thief.peer.identity.peer_id)
        assert thief.loop.run(thief.store(_dial(thief, place, victim), [older, stolen])) == [False, False]
        assert certified.store(server, older) == [False]
    finally:
        thief.stop()
    found = certified.found(server, certified.keys(certified.peer_id)[0])
    assert found[certified.peer_id].sequence == 8


def test_a_flood_of_valid_adverts_is_bounded(
    network: Network, victim: Daemon, place: str, certified: CertifiedPeer, raw_peer: RawPeer
) -> None:
    """Each of another model, new keys all the time: 64 are kept; clients find the victim and are served."""
    server, kept = _dial(certified.attacker, place, victim), 0
    with Memory.of(victim if place == "node" else network.tracker) as memory:
        for request in range(FLOOD_REQUESTS):
            names = [f"flood-{request}-{number}" for number in range(MAX_RECORDS_PER_STORE)]
            records = [certified.record(certified.advert(model=certified.model(name))) for name in names]
            kept += sum(certified.store(server, *records))
    assert kept == StoreLimits().records_per_peer
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    peer_id = victim.run["peer_id"]
    assert peer_id in certified.found(server, certified.keys(peer_id)[0])
    with InferenceClient(network.url, state_dir=Path(tempfile.mkdtemp(prefix="fresh-", dir=network.folder))) as fresh:
        sources = {node.node: node.source for node in fresh.nodes(model=MODEL, region=REGION)}
    assert sources[peer_id] == "dht"
    assert raw_peer.complete(victim).receipt
