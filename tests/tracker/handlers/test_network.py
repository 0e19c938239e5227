"""What newcomers fetch."""

from pathlib import Path

import jwt
import pytest
from gpunode_protocol import tracker_api as api
from gpunode_protocol.geography import Position, distances_km
from gpunode_protocol.grants import audience
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import network_id_of
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.regions import Region
from gpunode_protocol.trust import Trust
from gpunode_tracker.config import DEFAULT_MODELS
from gpunode_tracker.geoip import GeoIp

from tests.tracker.conftest import World
from tests.tracker.parties import START_AT
from tests.tracker.small_mmdb import BUILT_AT, FRANCE, write_mmdb


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


async def _regions(world: World, **headers: str) -> api.RegionsReply:
    response = await world.get(api.REGIONS_PATH, **headers)
    assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
    return api.RegionsReply.model_validate_json(await response.text())


async def test_where_the_caller_is(limited: World, tmp_path: Path) -> None:
    """By the address that a trusted proxy states: in whole degrees, and the ways from there."""
    limited.tracker.geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", FRANCE))
    answer = await _regions(limited, address="203.0.114.9")
    assert answer.caller is not None
    assert (answer.caller.region, answer.caller.country) == (Region.EUROPE, "FR")
    assert (answer.caller.latitude, answer.caller.longitude, answer.caller.accuracy_km) == (49, 2, 20)
    assert answer.caller.distances_km == distances_km(Position(49, 2))
    assert (answer.caller_unknown, answer.geoip_built_at) == (None, BUILT_AT)


@pytest.mark.parametrize(
    ("database", "address", "why", "built_at"),
    [
        (True, "192.168.1.1", "no_public_address", BUILT_AT),
        (True, "203.0.114.9", "not_in_database", BUILT_AT),
        (False, "203.0.114.9", "no_database", None),
    ],
)
async def test_a_caller_who_is_nowhere(
    limited: World, tmp_path: Path, database: bool, address: str, why: str, built_at: int | None
) -> None:
    """The answer says why no place is known, and still has the regions."""
    path = write_mmdb(tmp_path / "own.mmdb", None) if database else tmp_path / "missing.mmdb"
    limited.tracker.geoip = GeoIp(path)
    answer = await _regions(limited, address=address)
    assert (answer.caller, answer.caller_unknown, answer.geoip_built_at) == (None, why, built_at)
    assert [count.region for count in answer.regions] == list(Region)
