"""Attacks on the DHT of a running node and a running tracker, over real p2pd."""

import asyncio
import time
from typing import Any

import pytest
from gpunode_protocol.mesh._dht_protocol import MAX_RECORDS_PER_STORE, own_node_id
from gpunode_protocol.mesh._hivemind_api import PeerID, dht_pb2
from gpunode_protocol.mesh.records import key_id_of, pack_value

from tests.acceptance.attacker import MAX_GROWTH_BYTES, Attacker, Memory
from tests.acceptance.network import Network, status_of
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer
from tests.acceptance.test_attack_frames import nested_tuples

pytestmark = pytest.mark.acceptance

STORE = "/gpunode/1/dht/store"
STORES = 1_500
STORES_AT_ONCE = 32
VALUE_BYTES = 3_000
CALL_DEADLINE_S = 20.0


def _store(attacker: Attacker, victim: PeerID, values: list[bytes], subkeys: list[bytes], number: int = 0) -> Any:
    """Return a call that asks a peer to store something under fresh keys of ours."""
    own = PeerID.from_base58(attacker.peer.identity.peer_id)
    count = len(values)
    request = dht_pb2.StoreRequest(
        keys=[key_id_of(f"flood/{number}/{index}") for index in range(count)],
        subkeys=subkeys,
        values=values,
        expiration_time=[time.time() + 120] * count,
        in_cache=[False] * count,
        peer=dht_pb2.NodeInfo(node_id=own_node_id(own).to_bytes()),
    )
    call = attacker._p2p().call_protobuf_handler(victim, STORE, request, dht_pb2.StoreResponse)
    return asyncio.wait_for(call, CALL_DEADLINE_S)


def _own_subkey(attacker: Attacker) -> bytes:
    return attacker.peer.identity.peer_id.encode()


@pytest.mark.parametrize("place", ["value", "subkey"])
def test_four_hundred_nested_tuples(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, place: str) -> None:
    """1.9 KB that end a process of stock hivemind are refused."""
    bomb, restarts = nested_tuples(400), status_of(victim)["mesh"]["restarts"]
    value, subkey = (bomb, _own_subkey(attacker)) if place == "value" else (b"\x01", bomb)
    reply = attacker.loop.run(_store(attacker, attacker.dial(victim), [value], [subkey]))
    assert list(reply.store_ok) == [False]
    assert raw_peer.complete(victim).receipt
    assert status_of(victim)["mesh"]["restarts"] == restarts


def test_a_flood_of_stores_at_a_node(victim: Daemon, attacker: Attacker, raw_peer: RawPeer) -> None:
    """280 MB of records that nobody certified: none is kept, and memory stays where it was."""
    before, memory = status_of(victim)["mesh"], Memory.of(victim)
    kept = _flood(attacker, attacker.dial(victim))
    assert kept == 0
    after = status_of(victim)["mesh"]
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    assert after["records_stored"] <= before["records_stored"] + 20  # honest announcements go on
    assert after["records_rejected"]["rate_limited"] > before["records_rejected"].get("rate_limited", 0)
    assert after["restarts"] == before["restarts"]
    assert raw_peer.complete(victim).receipt


def test_a_flood_of_stores_at_the_tracker(network: Network, attacker: Attacker) -> None:
    """Likewise; its HTTP interface answers meanwhile."""
    address = next(address for address in network.tracker.run["bootstrap"] if "/tcp/" in address)
    transport, _, peer_id = address.partition("/p2p/")
    peer, memory = PeerID.from_base58(peer_id), Memory.of(network.tracker)
    attacker.loop.run(attacker._p2p().dial(peer, [transport], CALL_DEADLINE_S))
    assert _flood(attacker, peer) == 0
    assert network.call("GET", "/healthz")[0] == 200
    assert memory.growth_bytes() < MAX_GROWTH_BYTES


def _flood(attacker: Attacker, victim: PeerID) -> int:
    """Send full store requests as fast as they are answered; return how many records were kept."""
    subkeys = [_own_subkey(attacker)] * MAX_RECORDS_PER_STORE
    values = [pack_value(f"flood/{index}", bytes(VALUE_BYTES)) for index in range(MAX_RECORDS_PER_STORE)]
    gate = asyncio.Semaphore(STORES_AT_ONCE)

    async def one(number: int) -> int:
        async with gate:
            return sum((await _store(attacker, victim, values, subkeys, number)).store_ok)

    async def everything() -> int:
        return sum(await asyncio.gather(*(one(number) for number in range(STORES))))

    return attacker.loop.run(everything())
