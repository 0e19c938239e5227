"""A tracker on loopback for the doctor's checks, in a thread of its own: they run event loops of theirs."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from gpunode_protocol import tracker_api as api
from gpunode_protocol.grants import Cap, Confirmation, Grant, audience, issue_grant
from gpunode_protocol.keyset import KeySet, TrackerKey
from gpunode_protocol.signing import Signed, sign

from tests.sdk.threaded_server import served_in_a_thread
from tests.sdk.world import Keys


@dataclass
class TrackerServer:
    """What it answers can be changed; what it was asked is kept. clock_s: of the tracker, ahead of this one."""

    keys: Keys = field(default_factory=Keys)
    clock_s: float = 0.0
    status: int = 200
    changes: dict[str, Any] = field(default_factory=dict)
    spendable_microcredits: int = 5_000_000
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(middlewares=[self._noted])
        app.router.add_get(api.NETWORK_PATH, self._network)
        app.router.add_get(api.BALANCE_PATH, self._balance)
        app.router.add_post(api.GRANTS_PATH, self._grant)
        return app

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.path)
        if self.status != 200:
            return web.Response(status=self.status)
        response: web.StreamResponse = await handler(request)
        return response

    def now(self) -> float:
        """Return the tracker's clock, Unix seconds."""
        return time.time() + self.clock_s

    async def _network(self, _: web.Request) -> web.Response:
        fields: dict[str, Any] = {
            "keyset": _keyset_of_today(self.keys).envelope,
            "bootstrap": ("/ip4/127.0.0.1/tcp/1/p2p/x",),
            "time": int(self.now()),
        }
        return _json(self.keys.network_info(**fields | self.changes))

    async def _balance(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != "Bearer right":
            return web.Response(status=401)
        return _json(api.BalanceReply(account="a", spendable_microcredits=self.spendable_microcredits))

    async def _grant(self, request: web.Request) -> web.Response:
        wanted = api.GrantRequest.model_validate_json(await request.read())
        assert wanted.open_microcredits == 1
        if self.spendable_microcredits < 1:
            return web.Response(status=402)
        issued_at = int(self.now())
        grant = Grant(
            iss=audience(self.keys.network),
            aud=audience(self.keys.network),
            sub="subject",
            jti="trial",
            iat=issued_at,
            exp=issued_at + wanted.lifetime_s,
            cnf=Confirmation(peer=wanted.peer),
            tasks=("llm",),
            jobs=1,
            price=1,
            cap=Cap(open=1),
        )
        token = issue_grant(grant, signer=self.keys.signer, kid=self.keys.kid)
        return _json(api.GrantReply(grant=token, jti="trial", expires_at=grant.exp, reserved_microcredits=1))


def _keyset_of_today(keys: Keys) -> Signed[KeySet]:
    """Return a key set that has always been in use: the other tests' clock is ahead of the real one."""
    key = TrackerKey(kid=keys.kid, public_key=keys.signer.public_key, not_before=0)
    return sign(keys.root, KeySet(network=keys.network, sequence=2, issued_at=0, keys=(key,)))


def _json(body: Any) -> web.Response:
    return web.Response(text=body.model_dump_json(exclude_none=True), content_type="application/json")


@contextlib.contextmanager
def running_tracker() -> Iterator[TrackerServer]:
    """A tracker that answers until the end of the block."""
    tracker = TrackerServer()
    with served_in_a_thread(tracker.app()) as tracker.url:
        yield tracker
