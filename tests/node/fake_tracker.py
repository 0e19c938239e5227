"""A tracker in the tests' process: an aiohttp server that speaks ``tracker_api`` for one node."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import public_key_of
from gpunode_protocol.prices import DEFAULT_PRICES
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Envelope, WireModel, open_signed, read_body, sign

from tests.node.world import CLIENT, EPOCH, KEYSET, KID, NETWORK, NODE, ROOT, TRACKER, revocations

CHALLENGE = b"c" * 32


def network_info(**changes: Any) -> api.NetworkInfo:
    """Return the network info of the tests' network."""
    fields: dict[str, Any] = {
        "network": NETWORK,
        "root_public_key": ROOT.public_key,
        "keyset": KEYSET.envelope,
        "revocations": revocations().envelope,
        "bootstrap": ("/ip4/127.0.0.1/tcp/4000/p2p/x",),
        "shard_bits": 0,
        "prices": DEFAULT_PRICES,
        "default_models": {"llm": "smollm2-135m"},
        "time": EPOCH,
    }
    return api.NetworkInfo(**fields | changes)


def certificate(issued_at: int = EPOCH) -> Envelope:
    """Return a certificate for the tests' node."""
    return sign(TRACKER, certificate_for(NODE.peer_id, network=NETWORK, kid=KID, now=issued_at)).envelope


class FakeTracker:
    """What it answers can be changed; what it was asked is kept."""

    def __init__(self) -> None:
        self.info = network_info()
        self.asked: list[str] = []  #: paths
        self.down = False  #: answer 503 to everything
        self.refuses = 0  #: status to answer everything with, 0 = none
        self.region: Region | None = Region.EUROPE
        self.seen: api.SeenPlace | None = None
        self.tokens: list[str] = []  #: valid ones
        self.registrations: list[api.Registration] = []
        self.heartbeats: list[api.HeartbeatRequest] = []
        self.settled: list[api.SettlementItem] = []
        self.heartbeat_changes: dict[str, Any] = {}
        self.certificate: Callable[[], Envelope] = certificate
        self.url = ""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._middleware])
        app.router.add_get(api.NETWORK_PATH, self._network)
        app.router.add_post(api.CHALLENGE_PATH, self._challenge)
        app.router.add_post(api.REGISTER_PATH, self._register)
        app.router.add_post(api.HEARTBEAT_PATH, self._heartbeat)
        app.router.add_post(api.SETTLEMENTS_PATH, self._settle)
        app.router.add_get(api.NODE_BALANCE_PATH, self._balance)
        app.router.add_post(api.LINK_PATH, self._link)
        return app

    @web.middleware
    async def _middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.down:
            return web.Response(status=503)
        if self.refuses:
            return web.Response(status=self.refuses, headers={"Location": "https://login.example/"})
        return await handler(request)

    def _check_token(self, request: web.Request) -> None:
        if request.headers.get("X-Worker-Token") not in self.tokens:
            problem = api.Problem(title="Unauthorized", status=401, detail="Register first.")
            raise web.HTTPUnauthorized(text=problem.model_dump_json(), content_type="application/problem+json")

    async def _network(self, _: web.Request) -> web.Response:
        return _reply(self.info)

    async def _challenge(self, _: web.Request) -> web.Response:
        return _reply(api.ChallengeReply(challenge=CHALLENGE, expires_at=EPOCH + 60))

    async def _register(self, request: web.Request) -> web.Response:
        envelope = api.RegisterRequest.model_validate_json(await request.read()).registration
        peer = read_body(api.Registration, envelope).peer
        body = open_signed(api.Registration, envelope, public_key_of(peer)).body
        assert body.challenge == CHALLENGE
        self.registrations.append(body)
        self.tokens = [f"token-{len(self.registrations)}"]
        return _reply(
            api.RegisterReply(
                node_id=peer,
                token=self.tokens[0],
                certificate=self.certificate(),
                revocations=revocations().envelope,
                region=self.region,
                seen=self.seen,
            )
        )

    async def _heartbeat(self, request: web.Request) -> web.Response:
        self._check_token(request)
        self.heartbeats.append(api.HeartbeatRequest.model_validate_json(await request.read()))
        fields: dict[str, Any] = {
            "revocations": revocations().envelope,
            "keyset": KEYSET.envelope,
            "bootstrap": (),
            "shard_bits": 0,
            "time": EPOCH,
        }
        return _reply(api.HeartbeatReply(**fields | self.heartbeat_changes))

    async def _settle(self, request: web.Request) -> web.Response:
        self._check_token(request)
        batch = api.SettlementBatch.model_validate_json(await request.read())
        self.settled += batch.items
        results = tuple(api.SettlementResult(status="settled", paid_microcredits=7) for _ in batch.items)
        return _reply(api.SettlementReply(results=results))

    async def _balance(self, request: web.Request) -> web.Response:
        self._check_token(request)
        return _reply(api.BalanceReply(account="node:x", spendable_microcredits=1_500_000))

    async def _link(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer good-key":
            problem = api.Problem(title="Forbidden", status=403, detail="Bring another key.")
            raise web.HTTPForbidden(text=problem.model_dump_json(), content_type="application/problem+json")
        envelope = api.LinkRequest.model_validate_json(await request.read()).link
        open_signed(api.Link, envelope, public_key_of(NODE.peer_id))
        return _reply(api.LinkReply(account=CLIENT.peer_id[:8], moved_microcredits=42))


def _reply(body: WireModel) -> web.Response:
    return web.Response(text=body.model_dump_json(exclude_none=True), content_type="application/json")


@contextlib.asynccontextmanager
async def running_tracker() -> AsyncIterator[FakeTracker]:
    """A tracker on loopback."""
    tracker = FakeTracker()
    async with TestServer(tracker.app()) as server:
        tracker.url = str(server.make_url("/")).rstrip("/")
        yield tracker
