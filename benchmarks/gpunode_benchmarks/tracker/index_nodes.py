"""Mesh nodes as the tracker's index knows them: registered and listed over HTTP, without a mesh."""

import time
from typing import Final

from gpunode_node.tracker_client import TrackerClient
from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, Signed, sign
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import HeartbeatRequest, Registration

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.filling import MODELS

MODEL: Final = MODELS[0]
"""What all of them serve, and what is asked for."""
_ADDRESSES: Final = ("/ip4/127.0.0.1/tcp/4001", "/ip4/127.0.0.1/udp/4001/quic-v1")


async def list_nodes(url: str, count: int) -> None:
    """Let so many new nodes register and send one heartbeat each, with an advert.

    Raises:
        BenchmarkFailed: the tracker lists one of them not.
        GpunodeError: it does not answer.
    """
    tracker = TrackerClient(url)
    try:
        network = (await tracker.network()).network
        for number in range(count):
            await _list_node(tracker, network, tuple(Region)[number % len(Region)])
    finally:
        await tracker.close()


async def _list_node(tracker: TrackerClient, network: str, region: Region) -> None:
    node, challenge = Identity.generate(), (await tracker.challenge()).challenge
    registration = Registration(network=network, peer=node.peer_id, challenge=challenge, region=region)
    reply = await tracker.register(sign(node, registration).envelope)
    advert = _advert(node, network, reply.certificate, region)
    heard = await tracker.heartbeat(
        node.peer_id, reply.token, HeartbeatRequest(status="online", adverts=(advert.envelope,))
    )
    if heard.adverts_refused:
        raise BenchmarkFailed(f"The tracker lists a node not: {heard.adverts_refused[0]}. Run it again.")


def _advert(node: Identity, network: str, certificate: Envelope, region: Region) -> Signed[Advert]:
    model = ModelAdvert(
        name=MODEL,
        task=Task.LLM,
        fingerprint=bytes(32),
        speed=Speed(input_milliunits_per_s=0, output_milliunits_per_s=0),
        context=4096,
        slots=4,
    )
    body = Advert(
        network=network,
        peer=node.peer_id,
        certificate=certificate,
        sequence=1,
        region=region,
        gpu=Gpu(model="", count=0, memory_mb=0),
        model=model,
        addresses=_ADDRESSES,
        expires_at=int(time.time()) + ADVERT_LIFETIME_S,
    )
    return sign(node, body)
