"""A receiver of webhooks on loopback, with TLS, under a name that only the tests' resolver knows."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from gpunode_tracker.webhooks.public_addresses import IpAddress

from tests.tracker.certificates import self_signed

HOST = "hooks.example"
URL = f"https://{HOST}/jobs?token=hush"

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FixedResolver(AbstractResolver):
    """Knows some names; each look-up of a name takes its next answer, the last one stays."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[tuple[str, int]]]]) -> None:
        self._answers = {host: list(given) for host, given in answers.items()}
        self.asked: list[str] = []
        self.closed = False

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the next answer for a host; the port of it stands for the one that was asked for."""
        del port, family
        self.asked.append(host)
        if host not in self._answers:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        given = self._answers[host]
        addresses = given.pop(0) if len(given) > 1 else given[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address, port in addresses
        ]

    async def close(self) -> None:
        """Note it."""
        self.closed = True


@dataclass(frozen=True)
class Letter:
    """One request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Receiver:
    """What came, and what is answered: each request takes the next answer, the last one stays.

    arrived: set when a request has come.
    """

    port: int
    tls: ssl.SSLContext
    answers: list[Answer]
    letters: list[Letter] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def resolver(self) -> FixedResolver:
        """A resolver that knows where it is."""
        return FixedResolver({HOST: [[("127.0.0.1", self.port)]]})

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Take a request."""
        self.letters.append(Letter(request.path_qs, dict(request.headers), await request.read()))
        self.arrived.set()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)


def status(code: int, **headers: str) -> Answer:
    """Return an answer that says a status."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=code, headers=headers)

    return answer


def is_loopback(address: IpAddress) -> bool:
    """The check of the tests: what stands for the internet is this machine."""
    return address.is_loopback


@asynccontextmanager
async def receiving(folder: Path, *answers: Answer) -> AsyncIterator[Receiver]:
    """Run a receiver; its certificate is for ``HOST``."""
    certificate, key = self_signed(folder, HOST)
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_tls.load_cert_chain(certificate, key)
    receiver = Receiver(0, ssl.create_default_context(cafile=str(certificate)), list(answers) or [status(204)])
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=server_tls)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()
