"""One POST to a stranger's address: https, no redirects, no proxies, an end to everything."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Final, Self

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from yarl import URL

from gpunode_tracker.errors import InvalidRequest
from gpunode_tracker.webhooks.public_addresses import AddressCheck, NotPublic, PublicResolver, is_public, public_socket
from gpunode_tracker.webhooks.url import check_url

TIMEOUT_S: Final = 10.0
"""From the look-up to the answer's end."""
MAX_ANSWER_BYTES: Final = 64 * 1024
"""Of an answer no more is read; nothing is kept."""
_GONE: Final = 410
_CHUNK_BYTES: Final = 8 * 1024


@dataclass(frozen=True)
class Outcome:
    """problem: why it was not delivered, without the address; None = it was. final: another try would end likewise."""

    problem: str | None = None
    final: bool = False


class Deliverer:
    """Sends webhooks.

    Args:
        session: of ``open`` only: its connector is what refuses addresses.
        timeout_s: for each, all in all.
    """

    def __init__(self, session: ClientSession, *, timeout_s: float = TIMEOUT_S) -> None:
        self._session = session
        self._timeout = ClientTimeout(total=timeout_s, ceil_threshold=2 * TIMEOUT_S)  # never rounded up

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        resolver: AbstractResolver | None = None,
        check: AddressCheck = is_public,
        tls: ssl.SSLContext | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> AsyncIterator[Self]:
        """Yield one.

        Args:
            resolver: looks names up; None = the system's.
            check: which addresses may be connected to.
            tls: whose certificates are believed; None = the system's.
            timeout_s: see ``TIMEOUT_S``.
        """
        connector = TCPConnector(
            resolver=PublicResolver(resolver or ThreadedResolver(), check),
            socket_factory=public_socket(check),
            use_dns_cache=False,
            ssl=tls or True,
            force_close=True,
            limit=0,  # the sender limits
        )
        async with ClientSession(
            connector=connector,
            cookie_jar=DummyCookieJar(),
            headers={"User-Agent": f"gpunode/{version('gpunode')}"},
            auto_decompress=False,
            trust_env=False,
        ) as session:
            yield cls(session, timeout_s=timeout_s)

    async def post(self, text: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send a body to an address; never raises for what the other end does."""
        try:
            url = check_url(text)
        except InvalidRequest as error:
            return Outcome(str(error), final=True)
        try:
            request = self._session.post(
                URL(url.text, encoded=True), data=body, headers=headers, allow_redirects=False, timeout=self._timeout
            )
            async with request as response:
                await _read_some(response)
                return _outcome_of(response.status)
        except TimeoutError:
            return Outcome(f"no answer within {self._timeout.total:g} s")
        except (ClientError, OSError, ValueError) as error:  # ValueError: an answer that is no HTTP
            return _outcome_of_failure(error)


async def _read_some(response: ClientResponse) -> None:
    """Read what there is, so that the other end sees its answer taken; the status counts whatever comes of it."""
    left = MAX_ANSWER_BYTES
    with contextlib.suppress(ClientError, OSError, TimeoutError):
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            left -= len(chunk)
            if left <= 0:
                break
    response.close()


def _outcome_of(status: int) -> Outcome:
    if 200 <= status < 300:
        return Outcome()
    if 300 <= status < 400:
        return Outcome(f"it was answered {status}, and redirects are not followed", final=True)
    return Outcome(f"it was answered {status}", final=status == _GONE)


def _outcome_of_failure(error: Exception) -> Outcome:
    """Say what failed, without the address: aiohttp's own texts have it."""
    match error:
        case ClientConnectorError(os_error=NotPublic()):
            return Outcome("the host leads to an address that is not public", final=True)
        case ClientConnectorDNSError():
            return Outcome("the host's name cannot be looked up")
        case ClientConnectorCertificateError():
            return Outcome("the host's certificate is not valid")
        case ClientSSLError():
            return Outcome("no TLS connection can be made")
        case ClientConnectorError():
            return Outcome(f"no connection ({error.os_error.strerror or 'refused'})")
        case _:
            return Outcome("the connection ended before the answer, or it was no HTTP")
