"""aiohttp's side of a connection, with our own answers to what is no HTTP: no handler ever sees that."""

from collections.abc import Callable
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from gpunode_tracker.problems import problem
from gpunode_tracker.request_ids import REQUEST_ID_HEADER, RequestIds

MAX_LINE_BYTES: Final = 4_096
MAX_HEADER_BYTES: Final = 2_048
MAX_HEADERS: Final = 48
"""What a request says before its body. The usual 128 headers of 8 KiB let one address take 500 MB by half requests."""

_BAD_REQUEST: Final = 400
_UNREADABLE: Final = "This is no HTTP request that can be read. Check its first line and its headers."
_TOO_LONG: Final = (
    f"The head of this request is too long: its first line may have {MAX_LINE_BYTES:,} bytes, and each of at most "
    f"{MAX_HEADERS} headers {MAX_HEADER_BYTES:,}."
)
_NO_PATH: Final = "The target of this request has no path. The paths are listed at /docs, and in docs/api.md."
_FAILED: Final = "Something failed in the tracker while it answered."
_IDS: Final = RequestIds()


class HttpProtocol(web.RequestHandler):
    """Speaks HTTP in one connection.

    Args:
        server: for which it does.
        on_unreadable: called for every request that cannot be read.
        options: of ``RequestHandler``.
    """

    __slots__ = ("_on_unreadable",)

    def __init__(self, server: web.Server, on_unreadable: Callable[[], None], **options: Any) -> None:
        super().__init__(
            server, max_line_size=MAX_LINE_BYTES, max_field_size=MAX_HEADER_BYTES, max_headers=MAX_HEADERS, **options
        )
        self._on_unreadable = on_unreadable

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, but not aiohttp's own refusal of a target without a path (CONNECT): no handler gave it."""
        if isinstance(resp, web.HTTPException):
            resp = self._refusal(_BAD_REQUEST, _NO_PATH, "bad_request")
            self._on_unreadable()
        return await super().finish_response(request, resp, start_time)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what could not be read, or a failure beside all handlers, and close the connection.

        aiohttp's own answer repeats what it could not read, and a key may be in that.
        """
        if status == _BAD_REQUEST:
            if request.writer.output_size > 0:
                raise ConnectionError("the answer has begun")
            self._on_unreadable()
            return self._refusal(status, _TOO_LONG if isinstance(exc, LineTooLong) else _UNREADABLE, "bad_request")
        super().handle_error(request, status, exc, message)  # logs it
        return self._refusal(status, _FAILED, "internal")

    @staticmethod
    def _refusal(status: int, words: str, code: str) -> web.Response:
        response = problem(status, words, code)
        response.headers[REQUEST_ID_HEADER] = _IDS.next()
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.force_close()
        return response
