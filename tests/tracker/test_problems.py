"""Errors as RFC 9457 problems."""

import pytest
from gpunode_protocol.errors import BadSignature, ErrorCode, MalformedMessage, Untrusted, job_error
from gpunode_tracker import errors
from gpunode_tracker.problems import problem, problem_of


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.Unauthenticated(), 401),
        (errors.InsufficientCredits(balance_microcredits=0, wanted_microcredits=1), 402),
        (errors.Forbidden(), 403),
        (BadSignature(), 403),
        (Untrusted(), 403),
        (errors.NotFound(), 404),
        (MalformedMessage(), 400),
        (errors.InvalidRequest(), 422),
        (job_error(ErrorCode.GRANT_INVALID, "no"), 422),
        (errors.StorageUnavailable(), 503),
        (errors.TooManyRequests("Wait.", retry_after_s=1, reason="x"), 429),
        (errors.Overloaded("Wait.", retry_after_s=1, reason="x"), 503),
    ],
)
def test_statuses(error: Exception, status: int) -> None:
    """Every domain error has its status and a text for the caller."""
    response = problem_of(error)
    assert response is not None
    assert (response.status, response.content_type) == (status, "application/problem+json")
    assert str(error) in (response.text or "").replace("\\", "")


def test_when_to_come_back() -> None:
    """In whole seconds, never too early."""
    refused = problem_of(errors.TooManyRequests("Wait.", retry_after_s=0.2, reason="x"))
    assert refused is not None
    assert refused.headers["Retry-After"] == "1"


def test_unforeseen_errors_stay_opaque() -> None:
    """The middleware makes them a 500 without details."""
    assert problem_of(ValueError("secret")) is None
    assert "Not Found" in (problem(404, "x", "y").text or "")
