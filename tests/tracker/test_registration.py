"""Registration, heartbeats and links over HTTP."""

from dataclasses import replace
from pathlib import Path

from aiohttp import ClientResponse
from gpunode_protocol import tracker_api as api
from gpunode_protocol.certificates import CERTIFICATE_LIFETIME_S
from gpunode_protocol.identity import Identity
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, sign
from gpunode_tracker.app_keys import NODES_BY_TOKEN
from gpunode_tracker.geoip import GeoIp
from gpunode_tracker.registration import check_adverts
from gpunode_tracker.sharding import Sharding

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH
from tests.tracker.parties import START_AT, Job, TestClock, advert
from tests.tracker.small_mmdb import FRANCE, write_mmdb

pytestmark = ON_BOTH

NODE = Identity.from_seed(b"n" * 32)


async def _heartbeat(world: World, token: str, *adverts: Envelope, status: str = "online") -> ClientResponse:
    body = api.HeartbeatRequest.model_validate({"status": status, "adverts": adverts})
    return await world.post(api.HEARTBEAT_PATH.format(peer=NODE.peer_id), body, token=token)


async def _reply(response: ClientResponse) -> api.HeartbeatReply:
    assert response.status == 200, await response.text()
    return api.HeartbeatReply.model_validate_json(await response.text())


async def _refusal(world: World, registration: Envelope) -> api.Problem:
    response = await world.post(api.REGISTER_PATH, api.RegisterRequest(registration=registration))
    problem = api.Problem.model_validate_json(await response.text())
    assert problem.status == response.status
    return problem


async def test_a_node_gets_token_and_certificate(world: World) -> None:
    """The certificate verifies against the network's keys and lasts seven days; the region is the one it named."""
    reply = await world.register(NODE, region=Region.ASIA)
    certificate = world.tracker.keys.trust.open_certificate(reply.certificate, now=START_AT).body
    assert (certificate.peer, certificate.expires_at) == (NODE.peer_id, START_AT + CERTIFICATE_LIFETIME_S)
    assert reply.region is Region.ASIA
    assert reply.token.startswith("gpw_")


async def test_a_challenge_works_once(world: World) -> None:
    """The same registration again is refused."""
    registration = await world.registration(NODE)
    body = api.RegisterRequest(registration=registration)
    assert (await world.post(api.REGISTER_PATH, body)).status == 201
    assert "used before" in (await _refusal(world, registration)).detail


async def test_an_old_challenge_is_refused(world: World, clock: TestClock) -> None:
    """After 60 seconds the node asks for a new one."""
    registration = await world.registration(NODE)
    clock.advance(61)
    assert "expired" in (await _refusal(world, registration)).detail


async def test_proof_of_possession(world: World) -> None:
    """Who does not have the node's key cannot register it."""
    body = api.Registration(network=world.network, peer=NODE.peer_id, challenge=await world.challenge())
    forged = sign(Identity.generate(), body).envelope
    assert (await _refusal(world, forged)).code == "bad_signature"


async def test_a_registration_for_another_network(world: World) -> None:
    """It says so."""
    refusal = await _refusal(world, await world.registration(NODE, network="0" * 40))
    assert (refusal.status, "another network" in refusal.detail) == (422, True)


async def test_registering_again_rotates_the_token(world: World) -> None:
    """The old token ends, the new one works."""
    first, second = await world.register(NODE), await world.register(NODE)
    assert (await _heartbeat(world, first.token)).status == 401
    assert (await _heartbeat(world, second.token)).status == 200


async def test_a_heartbeat_brings_what_a_node_needs(world: World, clock: TestClock) -> None:
    """Revocations, key set, shards, head and time; no certificate before half its life."""
    world.tracker.sharding = Sharding(bits=3, previous=2, changed_at=START_AT)
    token = (await world.register(NODE)).token
    reply = await _reply(await _heartbeat(world, token))
    trust = world.tracker.keys.trust
    assert trust.open_revocations(reply.revocations).body.grants == ()
    assert trust.updated(reply.keyset) is trust
    assert reply.head is not None
    assert trust.open_tree_head(reply.head).body.network == world.network
    assert (reply.shard_bits, reply.previous_shard_bits) == (3, 2)
    assert (reply.certificate, reply.time) == (None, START_AT)
    clock.advance(CERTIFICATE_LIFETIME_S // 2)
    renewed = (await _reply(await _heartbeat(world, token))).certificate
    assert renewed is not None
    assert trust.open_certificate(renewed, now=clock()).body.issued_at == clock.now


async def test_no_signing_key(world: World, clock: TestClock) -> None:
    """Who is registered goes on with the certificate it has, and gets the next when there is a key again."""
    token, keys = (await world.register(NODE)).token, world.tracker.keys
    world.tracker.keys = replace(keys, private_keys={})
    clock.advance(CERTIFICATE_LIFETIME_S // 2)
    assert (await _refusal(world, await world.registration(NODE))).code == "tracker_cannot_sign"
    assert (await _reply(await _heartbeat(world, token))).certificate is None
    world.tracker.keys = keys
    assert (await _reply(await _heartbeat(world, token))).certificate is not None


async def test_adverts_are_listed(world: World) -> None:
    """A valid advert appears in the signed index; leaving takes it off."""
    registered = await world.register(NODE)
    own = advert(NODE, registered.certificate, world.network)
    assert (await _reply(await _heartbeat(world, registered.token, own.envelope))).adverts_refused == ()
    assert world.tracker.index.find(START_AT)[0].digest == own.digest
    await _heartbeat(world, registered.token, status="offline")
    assert world.tracker.index.find(START_AT) == []


async def test_bad_adverts_are_dropped_singly(world: World) -> None:
    """Forged, foreign, long-lived and malformed ones are named in the reply; the good one is listed."""
    registered = await world.register(NODE)
    other = Identity.generate()
    foreign_certificate = (await world.register(other)).certificate
    good = advert(NODE, registered.certificate, world.network).envelope
    bad = [
        Envelope(body=good.body, signature=bytes(64)),
        advert(other, foreign_certificate, world.network).envelope,
        advert(NODE, foreign_certificate, world.network).envelope,
        advert(NODE, registered.certificate, world.network, expires_at=START_AT + 181).envelope,
        advert(NODE, registered.certificate, world.network, expires_at=START_AT).envelope,
        advert(NODE, registered.certificate, "0" * 40).envelope,
        Envelope(body=b"\x80", signature=bytes(64)),
    ]
    reply = await _reply(await _heartbeat(world, registered.token, *bad, good))
    reasons = ["malformed", "subkey", "certificate", "long_lived", "expired", "certificate", "malformed"]
    assert [text.split()[2] for text in reply.adverts_refused] == reasons
    assert len(world.tracker.index.find(START_AT)) == 1


async def test_another_nodes_token(world: World) -> None:
    """A token is good for its own node only."""
    await world.register(NODE)
    other = (await world.register(Identity.generate())).token
    assert (await _heartbeat(world, other)).status == 403
    assert (await _heartbeat(world, "")).status == 401


async def test_a_revoked_node_is_shut_out(world: World) -> None:
    """Its token, its certificate and its advert end, and it cannot register again."""
    registered = await world.register(NODE)
    own = advert(NODE, registered.certificate, world.network)
    await _heartbeat(world, registered.token, own.envelope)
    await world.admin.revoke_node(NODE.peer_id)
    await world.tracker.refresh()
    assert world.tracker.index.find(START_AT) == []
    assert (await _heartbeat(world, registered.token)).status == 403
    world.http.app[NODES_BY_TOKEN].forget(NODE.peer_id)  # after some seconds that comes by itself
    assert (await _heartbeat(world, registered.token)).status == 401
    assert (await _refusal(world, await world.registration(NODE))).code == "forbidden"
    revocations = world.tracker.revocations.body
    _, refused = check_adverts([own.envelope], world.tracker.keys, revocations, peer=NODE.peer_id, now=START_AT)
    assert "revoked" in refused[0]


async def test_a_node_leaves(world: World) -> None:
    """Its token ends; its earnings stay and can be had after registering again."""
    deal = await world.job()
    await world.settle(deal.job.item(10))
    path = api.NODE_PATH.format(peer=deal.job.node.peer_id)
    assert (await world.http.delete(path, headers={"X-Worker-Token": deal.token})).status == 204
    assert (await world.http.delete(path, headers={"X-Worker-Token": deal.token})).status == 401
    token = (await world.register(deal.job.node)).token
    assert (await world.balance(token=token)).spendable_microcredits == 300


async def test_linking_moves_the_earnings(world: World) -> None:
    """What the node earned before goes to the account, and what it earns later too."""
    deal = await world.job()
    await world.settle(deal.job.item(10))
    account, key = await world.account(credits_given=0)
    response = await world.link(deal.job.node, key)
    reply = api.LinkReply.model_validate_json(await response.text())
    assert (reply.account, reply.moved_microcredits) == (account, 300)
    later = Job(**(vars(deal.job) | {"segment": 1, "start": 10}))
    await world.settle(later.item(1))
    assert (await world.balance(key=key)).spendable_microcredits == 330
    again = api.LinkReply.model_validate_json(await (await world.link(deal.job.node, key)).text())
    assert again.moved_microcredits == 0


async def test_a_link_needs_the_nodes_consent(world: World) -> None:
    """The node's own signature, a registered node, a full account, and the node that the path names."""
    _, key = await world.account()
    assert (await world.link(NODE, key)).status == 404
    await world.register(NODE)
    link = api.Link(network=world.network, peer=NODE.peer_id, challenge=await world.challenge())
    forged = api.LinkRequest(link=sign(Identity.generate(), link).envelope)
    path = api.LINK_PATH.format(peer=NODE.peer_id)
    assert (await world.post(path, forged, key=key)).status == 403
    elsewhere = api.LINK_PATH.format(peer=Identity.generate().peer_id)
    genuine = api.LinkRequest(link=sign(NODE, link).envelope)
    assert (await world.post(elsewhere, genuine, key=key)).status == 422
    assert (await world.post(path, genuine)).status == 401
    _, promotional = await world.account(promotional=True)
    assert (await world.link(NODE, promotional)).status == 403


async def test_geoip_fills_in_the_region(limited: World, tmp_path: Path) -> None:
    """A node that names no region gets the one of its public address, and is told all that is known of that."""
    limited.tracker.geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", FRANCE))
    reply = await limited.register(NODE, address="8.8.8.8")
    assert reply.region is Region.EUROPE
    assert reply.seen == api.SeenPlace(region=Region.EUROPE, country="FR", latitude=49, longitude=2, accuracy_km=20)
    reply = await limited.register(NODE, address="8.8.8.8", region=Region.AFRICA)
    assert (reply.region, reply.seen and reply.seen.region) == (Region.AFRICA, Region.EUROPE)
    assert (await limited.register(NODE, address="10.0.0.1")).seen is None
