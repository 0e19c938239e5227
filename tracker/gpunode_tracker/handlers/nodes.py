"""Nodes: registration, heartbeats, the signed index, balances, links."""

from aiohttp import web
from gpunode_protocol.identity import PeerId, parse_peer_id
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import read_body as read_signed_body
from gpunode_protocol.tasks import Task
from gpunode_protocol.tracker_api import (
    ChallengeReply,
    HeartbeatReply,
    HeartbeatRequest,
    Link,
    LinkRequest,
    RegisterReply,
    RegisterRequest,
)

from gpunode_tracker.app_keys import CALL, NODES_BY_TOKEN, TRACKER
from gpunode_tracker.audit import Action
from gpunode_tracker.auth import WORKER_TOKEN_HEADER, account_of, node_of
from gpunode_tracker.balances import node_balance
from gpunode_tracker.bodies import read_body, reply, reply_bytes
from gpunode_tracker.entries import node_name
from gpunode_tracker.errors import Forbidden, InvalidRequest, NotFound
from gpunode_tracker.geoip import Place
from gpunode_tracker.place_watch import Observer
from gpunode_tracker.queries import read_choice
from gpunode_tracker.quotas import refuse_guessers
from gpunode_tracker.region_overview import seen_place
from gpunode_tracker.registration import check_adverts
from gpunode_tracker.storage import audit, nodes
from gpunode_tracker.storage.nodes import StoredNode
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.worker_auth import worker_of


async def post_challenge(request: web.Request) -> web.Response:
    """POST /api/v1/nodes/challenge: bytes to sign within 60 s."""
    challenge, expires_at = request.app[TRACKER].challenges.new()
    return reply(ChallengeReply(challenge=challenge, expires_at=expires_at), no_store=True)


async def post_register(request: web.Request) -> web.Response:
    """POST /api/v1/nodes/register: worker token and certificate for a node that proves its key."""
    tracker = request.app[TRACKER]
    body = await read_body(request, RegisterRequest)
    found = tracker.geoip.find(request[CALL].address)
    seen = found if isinstance(found, Place) else None
    node = await tracker.registrar.register(
        tracker.keys, body.registration, seen=seen, address=request[CALL].address, now=tracker.now
    )
    request.app[NODES_BY_TOKEN].forget(node.peer)
    return reply(
        RegisterReply(
            node_id=node.peer,
            token=node.token,
            certificate=node.certificate,
            revocations=tracker.revocations.envelope,
            region=node.region,
            seen=None if seen is None else seen_place(seen),
        ),
        status=201,
        no_store=True,
    )


async def post_heartbeat(request: web.Request) -> web.Response:
    """POST /api/v1/nodes/{peer}/heartbeat: keeps a node listed; brings keys, revocations, head."""
    tracker = request.app[TRACKER]
    node = await node_of(request)
    peer = PeerId(node.peer)
    body = await read_body(request, HeartbeatRequest)
    refused = _list_adverts(tracker, peer, body)
    await _note_round_trips(tracker, node, body)
    certificate = await tracker.registrar.beat(tracker.keys, peer, now=tracker.now)
    tracker.metrics.heartbeats.inc()
    tracker.metrics.adverts_refused.inc(len(refused))
    return reply(
        HeartbeatReply(
            revocations=tracker.revocations.envelope,
            keyset=tracker.keys.keyset.envelope,
            certificate=certificate,
            bootstrap=tracker.bootstrap,
            shard_bits=tracker.sharding.bits,
            previous_shard_bits=tracker.sharding.previous_at(tracker.now),
            head=tracker.sequencer.head,
            time=tracker.now,
            adverts_refused=tuple(refused),
            place_doubtful=tracker.places.is_doubtful(peer),
        )
    )


def _list_adverts(tracker: Tracker, peer: PeerId, body: HeartbeatRequest) -> list[str]:
    """Update the index by a heartbeat; return why adverts were not listed."""
    now = tracker.clock()
    valid, refused = check_adverts(body.adverts, tracker.keys, tracker.revocations.body, peer=peer, now=now)
    tracker.index.hear(peer, now)
    for advert in valid:
        tracker.index.update(advert, now)
    if body.status == "offline":
        tracker.index.remove(peer)
    return refused


async def _note_round_trips(tracker: Tracker, node: nodes.StoredNode, body: HeartbeatRequest) -> None:
    """Compare what a node measured with what the others say of their place; it must say where it is itself."""
    now = tracker.clock()
    position = tracker.index.position_of(node.peer, now)
    if position is None or node.account_id is None or not body.round_trips:
        return
    async with tracker.database.read() as connection:
        others = await nodes.find_nodes(connection, {trip.peer for trip in body.round_trips})
    tracker.places.note(Observer(node, position), body.round_trips, others, now)


async def get_nodes(request: web.Request) -> web.Response:
    """GET /api/v1/nodes?task=&model=&region=: live adverts, signed as a whole."""
    tracker = request.app[TRACKER]
    task, region = read_choice(request, "task", Task), read_choice(request, "region", Region)
    return reply_bytes(tracker.answers.nodes(task=task, region=region, model=request.query.get("model") or None))


async def delete_node(request: web.Request) -> web.Response:
    """DELETE /api/v1/nodes/{peer}: the node leaves; its token ends, its earnings stay."""
    tracker = request.app[TRACKER]
    node = await node_of(request)
    tracker.index.remove(node.peer)
    async with tracker.database.write() as connection:
        await nodes.remove_token(connection, node.peer)
        name = node_name(node.peer)
        await audit.record(connection, name, Action.NODE_LEFT, name, address=request[CALL].address, at=tracker.now)
    request.app[NODES_BY_TOKEN].forget(node.peer)
    return web.Response(status=204)


async def post_link(request: web.Request) -> web.Response:
    """POST /api/v1/nodes/{peer}/link: attach a node to the account of the API key."""
    tracker = request.app[TRACKER]
    account = await account_of(request)
    body = await read_body(request, LinkRequest)
    if read_signed_body(Link, body.link).peer != parse_peer_id(request.match_info["peer"]):
        raise InvalidRequest("The path names another node than the signed link.")
    peer, answer = await tracker.registrar.link(
        tracker.keys, body.link, account, address=request[CALL].address, now=tracker.now
    )
    request.app[NODES_BY_TOKEN].forget(peer)
    tracker.wake_sequencer.set()
    return reply(answer)


async def get_node_balance(request: web.Request) -> web.Response:
    """GET /api/v1/nodes/{peer}/balance: for its worker token, or the API key of the account that it is linked to."""
    tracker = request.app[TRACKER]
    if WORKER_TOKEN_HEADER in request.headers:
        itself = await _payee_of(request)
        async with tracker.database.read() as connection:
            return reply(await node_balance(connection, itself))
    account = await account_of(request)
    async with tracker.database.read() as connection:
        node = await nodes.find_node(connection, parse_peer_id(request.match_info["peer"]))
        if node is None:
            raise NotFound("This node is not registered here.")
        if node.account_id != account.id:
            raise Forbidden("This node is not linked to your account.")
        return reply(await node_balance(connection, node))


async def _payee_of(request: web.Request) -> StoredNode:
    """Return whose worker token the request carries, a node's or a pull worker's with a key.

    Raises:
        Unauthenticated, Forbidden, TooManyRequests: see ``node_of`` and ``worker_of``.
    """
    await refuse_guessers(request)
    tracker = request.app[TRACKER]
    if await tracker.workers.find(request.headers[WORKER_TOKEN_HEADER]) is None:
        return await node_of(request)
    worker = await worker_of(request)
    async with tracker.database.read() as connection:
        node = await nodes.find_node(connection, PeerId(worker.stored.peer)) if worker.stored.peer else None
    if node is None or node.peer != request.match_info["peer"]:
        raise Forbidden("This worker token belongs to another key, or to a worker without one.")
    return node
