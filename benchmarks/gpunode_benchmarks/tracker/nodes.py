"""Mesh nodes that are in the tracker's index, put there as real ones are: registered, and heard with their adverts."""

import json
from itertools import cycle
from typing import Final

from gpunode_protocol import tracker_api as api
from gpunode_protocol.adverts import ADVERT_LIFETIME_S, Advert, Gpu, ModelAdvert, Speed
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, sign
from gpunode_protocol.tasks import Task

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.tracker.http_line import HttpLine, request_bytes

MODEL: Final = "smollm2-135m"


async def list_nodes(port: int, network: str, count: int) -> None:
    """Register so many nodes, spread over the regions, and let each be heard once."""
    line = await HttpLine.open("127.0.0.1", port)
    for _, region in zip(range(count), cycle(Region), strict=False):
        await _list_one(line, network, region)
    line.close()


async def _list_one(line: HttpLine, network: str, region: Region) -> None:
    node = Identity.generate()
    challenge = api.ChallengeReply.model_validate_json(await _post(line, api.CHALLENGE_PATH, b""))
    body = api.Registration(network=network, peer=node.peer_id, challenge=challenge.challenge, region=region)
    request = api.RegisterRequest(registration=sign(node, body).envelope)
    registered = api.RegisterReply.model_validate_json(
        await _post(line, api.REGISTER_PATH, request.model_dump_json().encode())
    )
    told = _advert(node, registered.certificate, network, region, challenge.expires_at)
    beat = api.HeartbeatRequest(status="online", adverts=(told,)).model_dump_json().encode()
    path = api.HEARTBEAT_PATH.format(peer=node.peer_id)
    refused = json.loads(await _post(line, path, beat, {"X-Worker-Token": registered.token}))["adverts_refused"]
    if refused:
        raise BenchmarkFailed(f"The tracker refused an advert: {refused[0]}")


async def _post(line: HttpLine, path: str, body: bytes, headers: dict[str, str] | None = None) -> bytes:
    answer = await line.ask(request_bytes("POST", path, headers or {}, body))
    if answer.status not in (200, 201):
        raise BenchmarkFailed(f"POST {path} was answered {answer.status}: {answer.body[:200]!r}.")
    return answer.body


def _advert(node: Identity, certificate: Envelope, network: str, region: Region, now: int) -> Envelope:
    model = ModelAdvert(
        name=MODEL,
        task=Task.LLM,
        fingerprint=bytes(32),
        speed=Speed(input_milliunits_per_s=1_000_000, output_milliunits_per_s=50_000),
        context=4096,
        slots=4,
    )
    body = Advert(
        network=network,
        peer=node.peer_id,
        certificate=certificate,
        sequence=1,
        region=region,
        gpu=Gpu(model="benchmark", count=1, memory_mb=24_000),
        model=model,
        addresses=("/ip4/203.0.113.7/tcp/4001", "/ip4/203.0.113.7/udp/4001/quic-v1"),
        expires_at=now - 60 + ADVERT_LIFETIME_S,
    )
    return sign(node, body).envelope
