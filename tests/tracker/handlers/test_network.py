"""What newcomers fetch."""

import jwt
from gpunode_protocol import tracker_api as api
from gpunode_protocol.grants import audience
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import network_id_of
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.trust import Trust
from gpunode_tracker.config import DEFAULT_MODELS

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT


async def test_network_info(world: World) -> None:
    """Key set and revocations verify against the root key that it states; prices and defaults are there."""
    info = api.NetworkInfo.model_validate_json(await (await world.get(api.NETWORK_PATH)).text())
    trust = Trust.from_keyset(info.root_public_key, info.keyset)
    assert info.network == network_id_of(info.root_public_key)
    assert trust.open_revocations(info.revocations).body.certificates == ()
    assert info.prices == DEFAULT_PRICES
    assert info.default_models == {str(task): model for task, model in DEFAULT_MODELS.items()}
    assert (info.bootstrap, info.shard_bits, info.time) == ((), 0, START_AT)


async def test_jwks_serves_standard_libraries(world: World) -> None:
    """A grant verifies with nothing but a JWT library and this document."""
    _, key = await world.account()
    grant = await world.grant(key, Identity.generate())
    keys = jwt.PyJWKSet.from_dict(await (await world.get(api.JWKS_PATH)).json())
    kid = jwt.get_unverified_header(grant.grant)["kid"]
    claims = jwt.decode(
        grant.grant,
        keys[kid].key,
        algorithms=["EdDSA"],
        audience=audience(world.network),
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["jti"] == grant.jti
