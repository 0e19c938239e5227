"""Mutated requests of the DHT, and mutated dial-back frames, against a running node."""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterator

import pytest
from gpunode_protocol.mesh._dht_protocol import own_node_id
from gpunode_protocol.mesh._hivemind_api import P2PDaemonError, P2PHandlerError, PeerID, dht_pb2
from gpunode_protocol.mesh.dialback import PROTOCOL as DIALBACK
from gpunode_protocol.mesh.dialback import REQUESTS_BURST, encode_message
from gpunode_protocol.safe_msgpack import unpack

from tests.acceptance.attacker import DHT_STORE, MAX_GROWTH_BYTES, Attacker, Memory, p2pd_of
from tests.acceptance.certified import CertifiedPeer
from tests.acceptance.network import status_of
from tests.acceptance.processes import Daemon
from tests.acceptance.raw_peer import RawPeer
from tests.acceptance.test_attack_frames import ANSWER_DEADLINE_S, AT_ONCE, SEED, mutated_payload

pytestmark = pytest.mark.acceptance

DHT_FIND, DHT_PING = "/gpunode/1/dht/find", "/gpunode/1/dht/ping"
DIALBACKS = 100


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [3_000, pytest.param(30_000, marks=pytest.mark.full)])
def test_mutated_dht_requests(victim: Daemon, attacker: Attacker, raw_peer: RawPeer, count: int) -> None:
    """Each gets a reply or an error; the processes live, the advert that is found afterwards is the honest one."""
    print(f"seed {SEED}, {count} requests")  # noqa: T201 -- a failure must be repeatable
    certified, generator = CertifiedPeer(attacker), random.Random(SEED)
    requests = iter(lambda: _mutated_request(certified, victim, generator), None)
    peer, before = attacker.dial(victim), (status_of(victim)["pid"], p2pd_of(victim).pid)
    with Memory.of(victim) as memory:
        results = attacker.loop.run(_call_all(attacker, peer, requests, count))
        print(results)  # noqa: T201 -- shows what the mutations reach
    assert results["reply"] > count / 3  # read, and answered
    assert results["P2PHandlerError"] > count / 10  # not even protobuf
    assert results.total() == results["reply"] + results["P2PHandlerError"] == count
    assert memory.growth_bytes() < MAX_GROWTH_BYTES / 3
    assert raw_peer.complete(victim).receipt  # which takes longer than a look-up is worth of the rate
    peer_id = victim.run["peer_id"]
    assert peer_id in certified.found(peer, certified.keys(peer_id)[0])
    assert (status_of(victim)["pid"], p2pd_of(victim).pid) == before


def _mutated_request(certified: CertifiedPeer, victim: Daemon, generator: random.Random) -> tuple[str, bytes]:
    """Return a request and its protocol: one of its fields is mutated, or, half the time, its bytes as they travel."""
    own = own_node_id(PeerID.from_base58(certified.peer_id)).to_bytes()
    record, victims_key = certified.record(certified.advert()), certified.keys(victim.run["peer_id"])[0]
    fields = [own, record.key_id, record.subkey, record.packed, certified.raw(victims_key, b"", 0.0).key_id]
    as_it_travels = generator.randrange(2)
    if not as_it_travels:
        at = generator.randrange(len(fields))
        fields[at] = mutated_payload(fields[at], generator)
    node, key, subkey, packed, sought = fields
    peer = dht_pb2.NodeInfo(node_id=node)
    store = dht_pb2.StoreRequest(
        keys=[key],
        subkeys=[subkey],
        values=[packed],
        expiration_time=[record.expires_at],
        in_cache=[False],
        peer=peer,
    )
    find, ping = dht_pb2.FindRequest(keys=[sought], peer=peer), dht_pb2.PingRequest(peer=peer)
    protocol, request = generator.choice(((DHT_STORE, store), (DHT_STORE, store), (DHT_FIND, find), (DHT_PING, ping)))
    data = request.SerializeToString()
    return protocol, mutated_payload(data, generator) if as_it_travels else data


async def _call_all(
    attacker: Attacker, peer: PeerID, requests: Iterator[tuple[str, bytes]], count: int
) -> "Counter[str]":
    """Send so many mutated requests; count replies and kinds of errors."""
    control, results, left = attacker._p2p()._client.control, Counter[str](), iter(range(count))

    async def work() -> None:
        for _ in left:
            protocol, request = next(requests)
            try:
                async with asyncio.timeout(ANSWER_DEADLINE_S):
                    await control.call_unary_handler(peer, protocol, request)
                results["reply"] += 1
            except (P2PDaemonError, P2PHandlerError) as error:
                results[type(error).__name__] += 1

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))
    return results


def test_mutated_dial_back_frames(victim: Daemon, attacker: Attacker, raw_peer: RawPeer) -> None:
    """The first few of a peer are looked at, the others are closed unread; none is answered with garbage."""
    generator, before = random.Random(SEED), (status_of(victim)["pid"], p2pd_of(victim).pid)
    frames = []
    for _ in range(DIALBACKS):
        honest = encode_message({"nonce": os.urandom(16), "port": 1})
        payload = mutated_payload(honest[4:], generator)
        frames.append(len(payload).to_bytes(4, "big") + payload)
    attacker.flood(victim, DIALBACK, DIALBACKS, *frames)
    answered = [answer for answer in attacker.answers() if answer]
    assert all(unpack(answer[4:]).keys() == {"nonce", "observed", "reachable"} for answer in answered)
    assert len(answered) <= REQUESTS_BURST + 3  # what the rate adds while they are sent
    assert raw_peer.complete(victim).receipt
    assert (status_of(victim)["pid"], p2pd_of(victim).pid) == before
