"""Attacks on the DHT of a running node and a running tracker, over real p2pd."""

import asyncio
import contextlib
import time

import psutil
import pytest
from gpunode_protocol.mesh._dht_protocol import MAX_RECORDS_PER_STORE
from gpunode_protocol.mesh._hivemind_api import P2PDaemonError, P2PHandlerError, PeerID
from gpunode_protocol.mesh.records import key_id_of, pack_value

from tests.acceptance.attacker import MAX_GROWTH_BYTES, Attacker, Memory, RawRecord, p2pd_of
from tests.acceptance.network import Network, status_of
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer
from tests.acceptance.test_attack_frames import nested_tuples

pytestmark = pytest.mark.acceptance

STORES = 1_500
STORES_AT_ONCE = 32
ANSWERED_AT_LEAST = 100
"""Requests of a flood, 19 MB and 25 times what the rate lets through at once, before which nobody hangs up."""
VALUE_BYTES = 3_000


def _own_record(attacker: Attacker, key: str, packed: bytes, subkey: bytes = b"") -> RawRecord:
    own = attacker.peer.identity.peer_id.encode()
    return RawRecord(key_id_of(key), subkey or own, packed, time.time() + 120)


@pytest.mark.parametrize("place", ["whole value", "value of a key", "subkey"])
def test_four_hundred_nested_tuples(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, place: str) -> None:
    """1.9 KB that end a process of stock hivemind are refused, and it is the same process that goes on."""
    bomb, before = nested_tuples(400), _life(victim)
    places = {
        "whole value": _own_record(attacker, "bomb", bomb),
        "value of a key": _own_record(attacker, "bomb", pack_value("bomb", bomb)),
        "subkey": _own_record(attacker, "bomb", pack_value("bomb", b"\x01"), bomb),
    }
    assert attacker.loop.run(attacker.store(attacker.dial(victim), [places[place]])) == [False]
    assert raw_peer.complete(victim).receipt
    assert _life(victim) == before


def _life(node: Daemon) -> tuple[int, int, int, float]:
    """Return what changes when the node's process or its p2pd ends or starts again."""
    status = status_of(node)
    started_at = psutil.Process(status["pid"]).create_time()
    return status["pid"], p2pd_of(node).pid, status["mesh"]["restarts"], started_at


def test_a_flood_of_stores_at_a_node(victim: Daemon, attacker: Attacker, raw_peer: RawPeer) -> None:
    """280 MB of records that nobody certified: none is kept, and memory stays where it was."""
    before = status_of(victim)["mesh"]
    with Memory.of(victim) as memory:
        assert _flood(attacker, attacker.dial(victim)) == 0
    after = status_of(victim)["mesh"]
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    assert after["records_stored"] <= before["records_stored"] + 20  # honest announcements go on
    assert after["records_rejected"]["rate_limited"] > before["records_rejected"].get("rate_limited", 0)
    assert after["restarts"] == before["restarts"]
    assert raw_peer.complete(victim).receipt


def test_a_flood_of_stores_at_the_tracker(network: Network, attacker: Attacker) -> None:
    """Likewise; its HTTP interface answers meanwhile."""
    with Memory.of(network.tracker) as memory:
        assert _flood(attacker, attacker.dial_tracker()) == 0
    assert network.call("GET", "/healthz")[0] == 200
    assert memory.growth_bytes() < MAX_GROWTH_BYTES


def _flood(attacker: Attacker, victim: PeerID) -> int:
    """Send full store requests as fast as they are answered; return how many records were kept.

    A victim whose p2pd grows closes the connection, and the requests in flight end with it; libp2p then dials again.
    """
    keys = [f"flood/{index}" for index in range(MAX_RECORDS_PER_STORE)]
    records = [_own_record(attacker, key, pack_value(key, bytes(VALUE_BYTES))) for key in keys]
    gate, answers = asyncio.Semaphore(STORES_AT_ONCE), list[list[bool]]()

    async def one() -> None:
        async with gate:
            with contextlib.suppress(P2PDaemonError, P2PHandlerError):
                answers.append(await attacker.store(victim, records))

    async def everything() -> None:
        await asyncio.gather(*(one() for _ in range(STORES)))

    attacker.loop.run(everything())
    assert len(answers) > ANSWERED_AT_LEAST
    return sum(map(sum, answers))
