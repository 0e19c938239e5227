"""The network itself: what newcomers need, and the signing keys as a JWKS."""

import base64
from typing import Literal

from aiohttp import web
from gpunode_protocol.signing import WireModel

from gpunode_tracker.app_keys import CALL, TRACKER
from gpunode_tracker.bodies import reply, reply_bytes


class Jwk(WireModel):
    """An ed25519 public key (RFC 8037). x: the key, URL-safe base64 without padding."""

    kty: Literal["OKP"] = "OKP"
    crv: Literal["Ed25519"] = "Ed25519"
    alg: Literal["EdDSA"] = "EdDSA"
    use: Literal["sig"] = "sig"
    kid: str
    x: str


class JwkSet(WireModel):
    """Public keys (RFC 7517)."""

    keys: tuple[Jwk, ...]


async def get_network(request: web.Request) -> web.Response:
    """GET /api/v1/network: keys, bootstrap addresses, prices, defaults."""
    return reply(request.app[TRACKER].network_info())


async def get_jwks(request: web.Request) -> web.Response:
    """GET /.well-known/jwks.json: the keys that grants are signed with (RFC 8037), for standard JWT libraries."""
    keys = request.app[TRACKER].keys.keyset.body.keys
    return reply(JwkSet(keys=tuple(Jwk(kid=key.kid, x=_base64url(key.public_key)) for key in keys)))


async def get_regions(request: web.Request) -> web.Response:
    """GET /api/v1/regions: live nodes and models of each region, distances, and where the caller's address is."""
    tracker = request.app[TRACKER]
    caller, workers = tracker.geoip.find(request[CALL].address), tracker.workers.presence.by_region()
    return reply_bytes(tracker.answers.regions(caller, workers), no_store=True)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
