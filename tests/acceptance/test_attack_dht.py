"""Attacks on the DHT of a running node and a running tracker, over real p2pd."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from gpunode import InferenceClient
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
STORES_LONG = 2_450
"""Of 188 KB each: as much as stock hivemind took in 8 s."""
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


@pytest.mark.parametrize("stores", [STORES, pytest.param(STORES_LONG, marks=pytest.mark.full)])
def test_a_flood_of_stores_at_a_node(
    network: Network, victim: Daemon, attacker: Attacker, raw_peer: RawPeer, stores: int
) -> None:
    """280 MB (460) of records that nobody certified: none is kept, memory stays where it was, the node is found."""
    before = status_of(victim)["mesh"]
    with Memory.of(victim) as memory:
        assert _flood(attacker, attacker.dial(victim), stores) == 0
    after = status_of(victim)["mesh"]
    assert memory.growth_bytes() < MAX_GROWTH_BYTES
    assert after["records_stored"] <= before["records_stored"] + 20  # honest announcements go on
    assert after["records_rejected"]["rate_limited"] > before["records_rejected"].get("rate_limited", 0)
    assert after["restarts"] == before["restarts"]
    folder = Path(tempfile.mkdtemp(prefix="fresh-", dir=network.folder))
    with InferenceClient(network.url, state_dir=folder) as fresh:
        sources = {node.node: node.source for node in fresh.nodes(region="oceania")}
    assert sources[victim.run["peer_id"]] == "dht"
    assert raw_peer.complete(victim).receipt


@pytest.mark.parametrize("stores", [STORES, pytest.param(STORES_LONG, marks=pytest.mark.full)])
def test_a_flood_of_stores_at_the_tracker(network: Network, attacker: Attacker, stores: int) -> None:
    """Likewise; its HTTP interface answers after it, and its p2pd is the same."""
    p2pd = p2pd_of(network.tracker).pid
    with Memory.of(network.tracker) as memory:
        assert _flood(attacker, attacker.dial_tracker(), stores) == 0
    assert p2pd_of(network.tracker).pid == p2pd
    assert network.call("GET", "/healthz")[0] == 200
    assert memory.growth_bytes() < MAX_GROWTH_BYTES


def _flood(attacker: Attacker, victim: PeerID, stores: int) -> int:
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
        await asyncio.gather(*(one() for _ in range(stores)))

    attacker.loop.run(everything())
    print(f"{len(answers)} of {stores} requests were answered")  # noqa: T201 -- how much of the flood was let through
    assert len(answers) > ANSWERED_AT_LEAST
    return sum(map(sum, answers))
