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
        (errors.MissingScope("jobs"), 403),
        (errors.Banned("You are shut out."), 403),
        (errors.Conflict(), 409),
        (BadSignature(), 403),
        (Untrusted(), 403),
        (errors.NotFound(), 404),
        (MalformedMessage(), 400),
        (errors.InvalidRequest(), 422),
        (job_error(ErrorCode.GRANT_INVALID, "no"), 422),
        (errors.StorageUnavailable(), 503),
        (errors.NoSigningKey(), 503),
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
    """The front makes them a 500 without details."""
    assert problem_of(ValueError("secret")) is None
    assert "Not Found" in (problem(404, "x", "y").text or "")


@pytest.mark.parametrize(
    ("error", "challenge"),
    [
        (errors.Unauthenticated(), 'Bearer realm="gpunode"'),
        (errors.Unauthenticated("x", ended=True), 'Bearer realm="gpunode", error="invalid_token"'),
        (errors.MissingScope("jobs"), 'Bearer realm="gpunode", error="insufficient_scope", scope="jobs"'),
    ],
)
def test_what_a_caller_lacks(error: Exception, challenge: str) -> None:
    """In the words of RFC 6750."""
    response = problem_of(error)
    assert response is not None
    assert response.headers["WWW-Authenticate"] == challenge


def test_secrets_are_not_repeated() -> None:
    """A key that stood where an id belongs."""
    response = problem_of(errors.NotFound("There is no API key with the id gpn_0123456789abcdef."))
    assert response is not None
    assert "no API key with the id gpn_" in (response.text or "")
    assert "0123456789" not in (response.text or "")
