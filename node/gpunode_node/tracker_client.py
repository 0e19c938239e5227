"""The tracker's REST interface as a node uses it."""

import io
import random
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import aiohttp
import stamina
from gpunode_protocol import tracker_api as api
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.identity import PeerId
from gpunode_protocol.jobs_api import SLOW_LINE_BYTES_PER_S
from gpunode_protocol.signing import Envelope, WireModel
from gpunode_protocol.tracker_url import redirect_text
from pydantic import ValidationError

from gpunode_node.errors import TrackerBusy, TrackerRefused, TrackerUnreachable, TrackerUntrusted

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 15.0
ATTEMPTS = 3
WORKER_TOKEN_HEADER = "X-Worker-Token"  # noqa: S105 -- the header's name
MAX_RETRY_AFTER_S = 10.0
"""A tracker that wants to be left alone for longer is not waited for: whoever calls tries again later."""
LONGEST_RETRY_AFTER_S = 600.0
"""More is not believed: a proxy's maintenance page may say a day, and the tracker be back in a minute."""
MAX_DETAIL_CHARS = 1_000
"""Of the words of a refusal, which go into the log."""
_MAX_REPLY_BYTES = 8 * 1024 * 1024
_TOO_MANY_REQUESTS = 429
_OFTEN_OTHERS = frozenset({401, 403, 404, 405, 407, 410, 451})
"""What proxies and sign-in pages answer by themselves, without a problem body. Not 413, which would come every time."""

R = TypeVar("R", bound=WireModel)


@dataclass(frozen=True)
class CallLimits:
    """What one attempt may take.

    Args:
        timeout_s: seconds, > 0.
        answer_bytes: of the answer's body at most.
        slow_bytes: for which a slow line gets more time, while something comes every ``timeout_s``.
        on_answer: called when an answer begins to come.
    """

    timeout_s: float = REQUEST_TIMEOUT_S
    answer_bytes: int = _MAX_REPLY_BYTES
    slow_bytes: int = 0
    on_answer: Callable[[], None] = lambda: None

    @property
    def client_timeout(self) -> aiohttp.ClientTimeout:
        """The same for aiohttp."""
        total_s = self.timeout_s + self.slow_bytes / SLOW_LINE_BYTES_PER_S
        return aiohttp.ClientTimeout(total=total_s, sock_connect=CONNECT_TIMEOUT_S, sock_read=self.timeout_s)


class TrackerClient:
    """One tracker; used by one event loop. Every call raises TrackerUnreachable or TrackerRefused.

    Args:
        url: without a slash at the end.
        ca_file: PEM file of certificate authorities; None = the system's.
        attempts: per call; all calls but ``link`` and ``register`` may be repeated safely.
    """

    def __init__(self, url: str, *, ca_file: Path | None = None, attempts: int = ATTEMPTS) -> None:
        self.url = url
        self._ssl = trusted_by(ca_file)
        self._attempts = attempts
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def network(self) -> api.NetworkInfo:
        """Return the network info; nothing in it has been verified."""
        return await self._call("GET", api.NETWORK_PATH, api.NetworkInfo)

    async def challenge(self) -> api.ChallengeReply:
        """Return a fresh challenge to sign."""
        return await self._call("POST", api.CHALLENGE_PATH, api.ChallengeReply)

    async def register(self, registration: Envelope) -> api.RegisterReply:
        """Register with a signed challenge, which works once."""
        body = api.RegisterRequest(registration=registration)
        return await self._call("POST", api.REGISTER_PATH, api.RegisterReply, body=body, repeat=False)

    async def heartbeat(self, peer: PeerId, token: str, body: api.HeartbeatRequest) -> api.HeartbeatReply:
        """Say that the node lives. TrackerRefused with status 401: register again."""
        path = api.HEARTBEAT_PATH.format(peer=peer)
        return await self._call("POST", path, api.HeartbeatReply, body=body, token=token)

    async def settle(self, token: str, batch: api.SettlementBatch) -> api.SettlementReply:
        """Submit vouchers and receipts."""
        return await self._call("POST", api.SETTLEMENTS_PATH, api.SettlementReply, body=batch, token=token)

    async def balance(self, peer: PeerId, token: str) -> api.BalanceReply:
        """Return what the node has earned."""
        return await self._call("GET", api.NODE_BALANCE_PATH.format(peer=peer), api.BalanceReply, token=token)

    async def consistency(self, from_size: int, to_size: int) -> api.ConsistencyReply:
        """Return the proof that the ledger of ``to_size`` entries extends the one of ``from_size``."""
        path = f"{api.CONSISTENCY_PATH}?from={from_size}&to={to_size}"
        return await self._call("GET", path, api.ConsistencyReply)

    async def link(self, peer: PeerId, link: Envelope, api_key: str) -> api.LinkReply:
        """Attach the node to an account."""
        path = api.LINK_PATH.format(peer=peer)
        body = api.LinkRequest(link=link)
        return await self._call("POST", path, api.LinkReply, body=body, api_key=api_key, repeat=False)

    async def _call(
        self,
        method: str,
        path: str,
        reply: type[R],
        *,
        body: WireModel | None = None,
        token: str = "",
        api_key: str = "",
        repeat: bool = True,
    ) -> R:
        """Make a call and read its answer as ``reply``."""
        data = b"" if body is None else body.model_dump_json(exclude_none=True).encode()
        answer = await self._ask(method, path, data, token=token, api_key=api_key, repeat=repeat)
        return self._read_as(reply, answer)

    def _read_as(self, reply: type[R], answer: bytes) -> R:
        """Return an answer's body. Raises TrackerUnreachable: it is something else."""
        try:
            return reply.model_validate_json(answer)
        except ValidationError as error:
            raise TrackerUnreachable(
                f"{self.url} sent something else than a {reply.__name__}. Check the tracker's address and version."
            ) from error

    async def _ask(
        self,
        method: str,
        path: str,
        data: bytes = b"",
        *,
        token: str = "",
        api_key: str = "",
        repeat: bool = True,
        call: CallLimits = CallLimits(),
    ) -> bytes:
        """Make a call, several times where that helps, and return the body of the answer.

        Args:
            data: JSON, or nothing.
            repeat: whether it does no harm when the tracker sees the call twice.
            call: how long and how large.

        Raises:
            TrackerUnreachable, TrackerRefused: no answer to use.
        """
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers |= {WORKER_TOKEN_HEADER: token} if token else {}
        headers |= {"Authorization": f"Bearer {api_key}"} if api_key else {}
        retries = stamina.retry_context(
            on=_again if repeat else _again_if_limited,
            attempts=self._attempts,
            wait_initial=0.2,
            wait_max=2.0,
            timeout=None,
        )
        answer = b""
        async for attempt in retries:
            with attempt:
                answer = await self._request(method, path, data, headers, call)
        return answer

    async def _request(self, method: str, path: str, data: bytes, headers: dict[str, str], call: CallLimits) -> bytes:
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._ssl))
        try:
            async with self._session.request(
                method,
                self.url + path,
                data=io.BytesIO(data) if data else None,  # which is read, and sent, piece by piece
                headers=headers,
                allow_redirects=False,
                timeout=call.client_timeout,
            ) as response:
                call.on_answer()
                answer = await _read(response, call.answer_bytes)
                status, retry_after = response.status, response.headers.get("Retry-After", "")
                location = response.headers.get("Location", "")
        except aiohttp.ClientConnectorCertificateError as error:
            raise TrackerUntrusted(
                f"The certificate of {self.url} is not trusted: {error.certificate_error}. "
                "If the tracker uses its own authority, give its certificate with --ca-file."
            ) from error
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            cause = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise TrackerUnreachable(f"The tracker at {self.url} does not answer ({cause}).") from error
        if status >= 500 or status == _TOO_MANY_REQUESTS:
            raise TrackerBusy(
                f"The tracker at {self.url} cannot answer now ({status}).",
                limited=status == _TOO_MANY_REQUESTS,
                retry_after_s=_seconds(retry_after),
            )
        if status >= 300:
            problem = _problem(answer)
            if problem is None and (status < 400 or status in _OFTEN_OTHERS):
                told = f": {redirect_text(location)}" if status < 400 else ". Check the tracker's address."
                raise TrackerUnreachable(
                    f"Something else than the tracker answered for {self.url} ({status}), a proxy, or a network that "
                    f"wants a sign-in{told}"
                )
            words = "" if problem is None else problem.detail or problem.title
            raise TrackerRefused(status, words[:MAX_DETAIL_CHARS])
        return answer


def _seconds(retry_after: str) -> float | None:
    """Return what Retry-After says; None: nothing that is a number of seconds."""
    if not (retry_after.isascii() and retry_after.isdecimal()):
        return None
    return min(float(retry_after), LONGEST_RETRY_AFTER_S)


def _again(error: Exception) -> bool | float:
    """Whether to make a call again that may be repeated safely, or after how many seconds."""
    if not isinstance(error, TrackerUnreachable):
        return False
    if not isinstance(error, TrackerBusy) or error.retry_after_s is None:
        return True
    wait_s = error.retry_after_s * random.uniform(1, 1.5)  # noqa: S311 -- only keeps nodes from coming back together
    return wait_s if error.retry_after_s <= MAX_RETRY_AFTER_S else False


def _again_if_limited(error: Exception) -> bool | float:
    """Likewise, for a call of which the tracker must not have seen the first one."""
    return _again(error) if isinstance(error, TrackerBusy) and error.limited else False


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) > max_bytes:
            raise aiohttp.ClientPayloadError(f"more than {max_bytes} bytes")
    return bytes(data)


def _problem(answer: bytes) -> api.Problem | None:
    """Return the tracker's words of a refusal; None: there are none, and so it may be somebody else's."""
    try:
        return api.Problem.model_validate_json(answer)
    except ValidationError:
        return None


def trusted_by(ca_file: Path | None) -> ssl.SSLContext | bool:
    """Return whom connections to a tracker trust; None and True: the system's authorities. Raises BadTrackerAddress."""
    if ca_file is None:
        return True
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:  # those of ssl are, too
        raise BadTrackerAddress(
            f"The file of certificate authorities {ca_file} cannot be used: {error.strerror}. Name a PEM file with "
            "--ca-file or GPUNODE_CA_FILE, or none."
        ) from error
