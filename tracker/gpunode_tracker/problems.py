"""One place that maps errors to statuses and RFC 9457 bodies; what is not listed stays opaque."""

import math
from http import HTTPStatus
from typing import Final

from aiohttp import web
from gpunode_protocol.errors import (
    BadSignature,
    GpunodeError,
    InvalidPeerId,
    JobError,
    ProtocolError,
    Untrusted,
    VerificationFailed,
)
from gpunode_protocol.secret_texts import without_secrets
from gpunode_protocol.tracker_api import Problem

from gpunode_tracker.errors import (
    Banned,
    Conflict,
    Forbidden,
    InsufficientCredits,
    InvalidRequest,
    KeyReused,
    LeaseLost,
    MissingScope,
    NoSigningKey,
    NotFound,
    Overloaded,
    Rejected,
    StorageUnavailable,
    TooManyRequests,
    TrackerError,
    TranscriptRefused,
    Unauthenticated,
)

CONTENT_TYPE = "application/problem+json"

_STATUS_OF: dict[type[GpunodeError], tuple[HTTPStatus, str]] = {
    # The first class that fits counts, so the special ones stand before the general.
    Unauthenticated: (HTTPStatus.UNAUTHORIZED, "unauthenticated"),
    InsufficientCredits: (HTTPStatus.PAYMENT_REQUIRED, "insufficient_credits"),
    MissingScope: (HTTPStatus.FORBIDDEN, "missing_scope"),
    Banned: (HTTPStatus.FORBIDDEN, "banned"),
    Forbidden: (HTTPStatus.FORBIDDEN, "forbidden"),
    BadSignature: (HTTPStatus.FORBIDDEN, "bad_signature"),
    Untrusted: (HTTPStatus.FORBIDDEN, "untrusted"),
    NotFound: (HTTPStatus.NOT_FOUND, "not_found"),
    ProtocolError: (HTTPStatus.BAD_REQUEST, "malformed"),
    InvalidPeerId: (HTTPStatus.BAD_REQUEST, "malformed"),
    LeaseLost: (HTTPStatus.CONFLICT, "lease_lost"),
    Conflict: (HTTPStatus.CONFLICT, "conflict"),
    KeyReused: (HTTPStatus.UNPROCESSABLE_ENTITY, "idempotency_key_reused"),
    TranscriptRefused: (HTTPStatus.UNPROCESSABLE_ENTITY, "transcript_refused"),
    InvalidRequest: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    JobError: (HTTPStatus.UNPROCESSABLE_ENTITY, "invalid"),
    VerificationFailed: (HTTPStatus.UNPROCESSABLE_ENTITY, "verification_failed"),
    StorageUnavailable: (HTTPStatus.SERVICE_UNAVAILABLE, "storage_unavailable"),
    NoSigningKey: (HTTPStatus.SERVICE_UNAVAILABLE, "tracker_cannot_sign"),
    TooManyRequests: (HTTPStatus.TOO_MANY_REQUESTS, "too_many_requests"),
    Overloaded: (HTTPStatus.SERVICE_UNAVAILABLE, "overloaded"),
}

KNOWN_CODES: Final = frozenset(code for _, code in _STATUS_OF.values())


def problem_of(error: Exception) -> web.Response | None:
    """Return the response for an error, or None for one that nobody foresaw."""
    for kind, (status, code) in _STATUS_OF.items():
        if isinstance(error, kind):
            response = problem_reply(_body(status, _words_of(error), code))
            if isinstance(error, Unauthenticated | MissingScope):
                response.headers["WWW-Authenticate"] = _challenge(error)
            if isinstance(error, StorageUnavailable | Rejected | NoSigningKey):
                response.headers["Retry-After"] = str(math.ceil(error.retry_after_s))
            return response
    return None


def problem_with_location(error: TrackerError, path: str) -> web.Response:
    """Return the response for a refusal, listed above, that has left something at a path, to be asked for later."""
    response = problem_of(error)
    assert response is not None  # noqa: S101 -- see the contract
    response.headers["Location"] = path
    return response


def problem_told(error: TrackerError) -> Problem:
    """Return what is said of a refusal, listed above, in the middle of an answer."""
    status, code = next(told for kind, told in _STATUS_OF.items() if isinstance(error, kind))
    return _body(status, _words_of(error), code)


def _words_of(error: Exception) -> str:
    """Return what a caller is told: what is wrong with the tracker's files is the operator's matter alone."""
    return str(NoSigningKey() if isinstance(error, NoSigningKey) else error)


def problem(status: HTTPStatus | int, detail: str, code: str) -> web.Response:
    """Return a problem response; a key or token that stood in the request is not repeated."""
    return problem_reply(_body(HTTPStatus(status), detail, code))


def _body(status: HTTPStatus, detail: str, code: str) -> Problem:
    return Problem(title=status.phrase, status=status.value, detail=without_secrets(detail), code=code)


def problem_reply(body: Problem) -> web.Response:
    """Return the response of a problem that may have members of its own."""
    return web.Response(text=body.model_dump_json(), status=body.status, content_type=CONTENT_TYPE)


def _challenge(error: Unauthenticated | MissingScope) -> str:
    """Return what the caller lacks in the words of RFC 6750, section 3."""
    if isinstance(error, MissingScope):
        return f'Bearer realm="gpunode", error="insufficient_scope", scope="{error.scope}"'
    return 'Bearer realm="gpunode"' + (', error="invalid_token"' if error.ended else "")


def problem_of_http(error: web.HTTPException) -> web.Response:
    """Return aiohttp's own refusals (no such path, wrong method, body too large) as problems."""
    details = {
        HTTPStatus.NOT_FOUND: "There is no such path here. The paths are listed at /docs, and in docs/api.md.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This path does not take that method.",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: error.text or error.reason,
    }
    status = HTTPStatus(error.status)
    response = problem(status, details.get(status, error.reason), status.phrase.lower().replace(" ", "_"))
    if "Allow" in error.headers:
        response.headers["Allow"] = error.headers["Allow"]
    return response
