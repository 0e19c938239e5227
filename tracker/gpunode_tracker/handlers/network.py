"""The network itself: what newcomers need, and the signing keys as a JWKS."""

import base64

from aiohttp import web

from gpunode_tracker.app_keys import CLIENT, TRACKER
from gpunode_tracker.bodies import reply
from gpunode_tracker.region_overview import regions_reply


async def get_network(request: web.Request) -> web.Response:
    """GET /api/v1/network: keys, bootstrap addresses, prices, defaults."""
    return reply(request.app[TRACKER].network_info())


async def get_jwks(request: web.Request) -> web.Response:
    """GET /.well-known/jwks.json: the keys that grants are signed with (RFC 8037), for standard JWT libraries."""
    keys = [
        {
            "kty": "OKP",
            "crv": "Ed25519",
            "alg": "EdDSA",
            "use": "sig",
            "kid": key.kid,
            "x": base64.urlsafe_b64encode(key.public_key).rstrip(b"=").decode(),
        }
        for key in request.app[TRACKER].keys.keyset.body.keys
    ]
    return web.json_response({"keys": keys})


async def get_regions(request: web.Request) -> web.Response:
    """GET /api/v1/regions: live nodes and models of each region, distances, and where the caller's address is."""
    tracker = request.app[TRACKER]
    counts = tracker.index.regions(tracker.clock())
    caller, workers = tracker.geoip.find(request[CLIENT]), tracker.workers.presence.by_region()
    answer = regions_reply(counts, caller, tracker.geoip.built_at, workers)
    return reply(answer, no_store=True)
