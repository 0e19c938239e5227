"""Calls to the tracker's REST interface, with retries and errors that say what to do."""

import asyncio
import io
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any, Final, Protocol, TypeVar

import aiohttp
from gpunode_protocol import tracker_api as api
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.signing import WireModel
from gpunode_protocol.tracker_url import redirect_text
from pydantic import ValidationError

from gpunode._retry import Patience, read_retry_after
from gpunode.config import ClientConfig
from gpunode.errors import (
    InsufficientCredits,
    InvalidSettings,
    TrackerBusy,
    TrackerError,
    TrackerUnreachable,
    Unauthorized,
)

_log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S: Final = 3.0
REQUEST_TIMEOUT_S: Final = 10.0
ATTEMPTS: Final = 3
_MAX_REPLY_BYTES: Final = 8 * 1024 * 1024
_TOO_MANY_REQUESTS: Final = 429

R = TypeVar("R", bound=WireModel)


@dataclass(frozen=True)
class CallLimits:
    """timeout_s: for each attempt, all in all. max_bytes: of the answer."""

    timeout_s: float = REQUEST_TIMEOUT_S
    max_bytes: int = _MAX_REPLY_BYTES


class SessionTracker(Protocol):
    """What a session needs of a tracker: by HTTP, or in the tracker's own process. All calls raise ``ClientError``.

    url: names the folder in which what is learned of it is kept. api_key: None = it needs none.
    """

    url: str
    api_key: str | None

    async def close(self) -> None:
        """Close connections."""
        ...

    async def network(self) -> api.NetworkInfo:
        """Return what a newcomer needs."""
        ...

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> api.NodesReply:
        """Return the signed index of live nodes."""
        ...

    async def regions(self) -> api.RegionsReply:
        """Return live nodes by region, and where this client is."""
        ...

    async def grant(self, request: api.GrantRequest) -> api.GrantReply:
        """Issue a grant."""
        ...

    async def settle(self, batch: api.SettlementBatch) -> api.SettlementReply:
        """Take vouchers."""
        ...

    async def report(self, request: api.ReportRequest) -> None:
        """Take a complaint."""
        ...

    async def balance(self) -> api.BalanceReply:
        """Return the account's balance."""
        ...

    async def own_nodes(self) -> api.OwnNodesReply:
        """Return the nodes that are linked to the account."""
        ...


class TrackerClient:
    """One tracker; connections are opened on demand in the event loop that uses it.

    Args:
        url: without a slash at the end.
        api_key: of an account; only the calls that spend or show an account's data need it.
        ssl_context: None = the system's authorities.
        attempts: per call that may be repeated safely.
        sleep: waits some seconds between them.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
        attempts: int = ATTEMPTS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.url = url
        self.api_key = api_key
        self._ssl: ssl.SSLContext | bool = ssl_context or True
        self._attempts = attempts
        self._sleep = sleep
        self._random = SystemRandom()
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def from_config(cls, config: ClientConfig, *, attempts: int = ATTEMPTS) -> "TrackerClient":
        """Return the client of the tracker that the settings name."""
        return cls(
            config.tracker_url(),
            api_key=config.read_api_key(),
            ssl_context=trusted_by(config.ca_file),
            attempts=attempts,
        )

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def network(self) -> api.NetworkInfo:
        """Return what a newcomer needs; nothing in it has been verified."""
        return await self._get(api.NETWORK_PATH, api.NetworkInfo)

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> api.NodesReply:
        """Return the signed index of live nodes; None = any."""
        query = {"task": task, "model": model, "region": region}
        return await self._get(api.NODES_PATH, api.NodesReply, {k: v for k, v in query.items() if v is not None})

    async def regions(self) -> api.RegionsReply:
        """Return live nodes by region, and where this client's address is; unsigned: it only says where to look."""
        return await self._get(api.REGIONS_PATH, api.RegionsReply)

    async def grant(self, request: api.GrantRequest) -> api.GrantReply:
        """Ask for a grant; not repeated when the answer is lost, because every grant reserves credits."""
        return await self._call("POST", api.GRANTS_PATH, api.GrantReply, body=request, keyed=True, repeat=False)

    async def settle(self, batch: api.SettlementBatch) -> api.SettlementReply:
        """Submit vouchers; the same ones may come again."""
        return await self._call("POST", api.SETTLEMENTS_PATH, api.SettlementReply, body=batch)

    async def report(self, request: api.ReportRequest) -> None:
        """Complain about a node."""
        await self._request("POST", api.REPORTS_PATH, body=request, keyed=True)

    async def balance(self) -> api.BalanceReply:
        """Return the account's balance."""
        return await self._call("GET", api.BALANCE_PATH, api.BalanceReply, keyed=True)

    async def node_balance(self, peer: str) -> api.BalanceReply:
        """Return what a node has earned."""
        return await self._call("GET", api.NODE_BALANCE_PATH.format(peer=peer), api.BalanceReply, keyed=True)

    async def own_nodes(self) -> api.OwnNodesReply:
        """Return the nodes that are linked to the account."""
        return await self._call("GET", api.OWN_NODES_PATH, api.OwnNodesReply, keyed=True)

    async def entries(self, *, limit: int, cursor: str | None = None) -> api.EntriesReply:
        """Return the account's ledger entries, newest first."""
        query = {"limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        return await self._call("GET", api.ENTRIES_PATH, api.EntriesReply, query=query, keyed=True)

    async def receipt_proof(self, receipt_id: str) -> ReceiptProof:
        """Return a receipt with its proof; unverified.

        Raises:
            TrackerError: status 404 while the ledger does not have it (yet).
        """
        return await self._call("GET", api.RECEIPT_PATH.format(receipt=receipt_id), ReceiptProof, keyed=True)

    async def call(self, method: str, path: str, reply: type[R], **options: Any) -> R:
        """Make a call that has no method of its own; options as of ``_request``."""
        return await self._call(method, path, reply, **options)

    async def pause(self, seconds: float) -> None:
        """Wait between two attempts."""
        await self._sleep(seconds)

    async def stream(self, path: str, *, silence_s: float) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of an answer without end, which needs the API key; its end is that of the generator.

        silence_s: after so long without a piece it is given up.

        Raises:
            TrackerError: it was refused. TrackerUnreachable: it broke off, or fell silent.
        """
        timeout = aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        async with self._answer("GET", self.url + path, headers=self._headers(keyed=True), timeout=timeout) as response:
            async for piece in response.content.iter_any():
                yield piece

    async def _get(self, path: str, reply: type[R], query: Mapping[str, str] | None = None) -> R:
        return await self._call("GET", path, reply, query=query)

    async def _call(self, method: str, path: str, reply: type[R], **options: Any) -> R:
        data = await self._request(method, path, **options)
        try:
            return reply.model_validate_json(data)
        except ValidationError as error:
            raise TrackerError(
                f"The tracker at {self.url} sent something else than a {reply.__name__}. "
                "Check the address, and that both sides run compatible versions."
            ) from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: WireModel | None = None,
        headers: Mapping[str, str] | None = None,
        keyed: bool = False,
        repeat: bool = True,
        limits: "CallLimits | None" = None,
    ) -> bytes:
        """Send a request until it is answered.

        Args:
            query, body, headers: of it.
            keyed: whether it needs the API key.
            repeat: whether it may be sent again when its answer was lost.
            limits: None = the usual ones.
        """
        limits = limits or CallLimits()
        sent = {**self._headers(keyed=keyed), **(headers or {})}
        data = None if body is None else body.model_dump_json(exclude_none=True).encode()
        patience = Patience(self._attempts, self._random)
        while True:
            try:
                timeout = aiohttp.ClientTimeout(total=limits.timeout_s, sock_connect=CONNECT_TIMEOUT_S)
                url, content = self.url + path, None if data is None else io.BytesIO(data)
                async with self._answer(
                    method, url, params=query, data=content, headers=sent, timeout=timeout
                ) as response:
                    return await self._read(response, limits.max_bytes)
            except (TrackerUnreachable, TrackerBusy) as error:
                pause_s = _pause_s(patience, error, repeat=repeat)
                if pause_s is None:
                    raise
                _log.info("trying again: %s", error, extra={"event": "tracker_retry", "pause_s": pause_s})
                await self._sleep(pause_s)

    def _headers(self, *, keyed: bool) -> dict[str, str]:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if keyed and self.api_key is None:
            raise Unauthorized(
                "This needs an account's API key. Give it: InferenceClient(…, api_key=…), --api-key-file FILE, "
                "or the environment variable GPUNODE_API_KEY. The tracker's operator hands keys out.",
                status=401,
            )
        if self.api_key is not None:
            headers["Authorization"] = f"Bearer {self.api_key}"
        return headers

    @asynccontextmanager
    async def _answer(self, method: str, url: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request once; what is no success is raised, and so is what breaks while the answer is read."""
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._ssl))
        try:
            async with self._session.request(method, url, allow_redirects=False, **options) as response:
                if response.status >= 300:
                    data = await self._read(response, _MAX_REPLY_BYTES)
                    retry_after_s = read_retry_after(response.headers.get("Retry-After"))
                    if response.status < 400:
                        told = redirect_text(response.headers.get("Location", ""))
                        raise TrackerError(f"{self.url} answers as no tracker does: {told}", status=response.status)
                    raise _refusal(self.url, response.status, data, retry_after_s)
                yield response
        except aiohttp.ClientConnectorCertificateError as error:
            raise TrackerError(
                f"The certificate of {self.url} is not trusted: {error.certificate_error}. "
                "If the tracker uses its own authority, give its certificate: ca_file=…, --ca-file or GPUNODE_CA_FILE."
            ) from error
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NoConnection(_unreachable(self.url, error)) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TrackerUnreachable(_unreachable(self.url, error)) from error

    async def _read(self, response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
        data = bytearray()
        async for piece in response.content.iter_any():
            data += piece
            if len(data) > max_bytes:
                raise TrackerError(f"The tracker at {self.url} sent more than {max_bytes} bytes.")
        return bytes(data)


class _NoConnection(TrackerUnreachable):
    """The tracker does not answer; it has not seen the request."""


def _unreachable(url: str, error: BaseException) -> str:
    cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return (
        f"The tracker at {url} does not answer ({cause}). "
        "Check the address, your connection, and that the tracker runs."
    )


def _pause_s(patience: Patience, error: TrackerUnreachable | TrackerBusy, *, repeat: bool) -> float | None:
    """Return how long to wait before the next attempt; None: there is none.

    repeat: whether a request that the tracker may have served can be sent again.
    """
    if isinstance(error, TrackerBusy) and error.status == _TOO_MANY_REQUESTS:  # it was not served
        return patience.after_limit(error.retry_after_s)
    if not repeat and not isinstance(error, _NoConnection):
        return None
    return patience.after_failure(error.retry_after_s if isinstance(error, TrackerBusy) else None)


def _refusal(url: str, status: int, data: bytes, retry_after_s: float | None) -> TrackerError:
    try:
        problem = api.Problem.model_validate_json(data)
    except ValidationError:
        problem = api.Problem(title="", status=status)
    kind, advice = _meaning(status)
    said = problem.detail or f"{problem.title or f'HTTP status {status}'}. {advice}".strip()
    refusal = kind(f"The tracker at {url} refused: {said}", status=status, code=problem.code)
    if isinstance(refusal, TrackerBusy):
        refusal.retry_after_s = retry_after_s
    return refusal


def _meaning(status: int) -> tuple[type[TrackerError], str]:
    """Return the exception for an HTTP status, and what to do about it if the tracker does not say so itself."""
    match status:
        case 401 | 403:
            return Unauthorized, "Check that the API key (GPUNODE_API_KEY, --api-key-file) is right and not revoked."
        case 402:
            return InsufficientCredits, "See 'gpunode ledger balance'; the tracker's operator can issue credits."
        case 429:
            return TrackerBusy, "Too many requests came in a short time; wait a little."
        case 400 | 404 | 409 | 410 | 422:
            return TrackerError, ""
        case _ if status >= 500:
            return TrackerBusy, "Try again shortly; if it stays, tell the tracker's operator."
        case _:
            return TrackerError, "Check that both sides run compatible versions."


def trusted_by(ca_file: Path | None) -> ssl.SSLContext | None:
    """Return whom connections to a tracker trust; None: the system's authorities. Raises InvalidSettings."""
    if ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # those of ssl are, too
        raise InvalidSettings(
            f"The file of certificate authorities {ca_file} cannot be used: {error.strerror}. Name a PEM file with "
            "--ca-file or GPUNODE_CA_FILE, or none."
        ) from error
