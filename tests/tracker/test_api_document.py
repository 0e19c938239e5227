"""docs/api.md names every call that there is and none that there is not, and its code does what it says."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from gpunode_protocol.job_params import JOB_PARAMS_OF
from gpunode_protocol.jobs_api import JobCompletion, JobSubmission, NextJob, WorkerHeartbeat, WorkerRegistration
from gpunode_protocol.signing import WireModel
from gpunode_protocol.webhook_notices import SIGNATURE_HEADER, WebhookNotice, check_notice, sign_notice
from gpunode_tracker.limits import Budget
from gpunode_tracker.problems import KNOWN_CODES
from gpunode_tracker.routes import ROUTES
from gpunode_tracker.webhooks.sender import PAUSES_S
from gpunode_tracker.workers.reasons import Reason

TEXT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
CALLS = {(method, path) for method, path in re.findall(r"`(GET|POST|PUT|PATCH|DELETE) (/[^?`\s]*)", TEXT)}
SECRET = "whsec_example"


def test_it_names_the_calls_that_there_are() -> None:
    """Each route of the OpenAPI document, and nothing else."""
    assert {(route.method, route.path) for route in ROUTES} == CALLS


@pytest.mark.parametrize("code", sorted(KNOWN_CODES))
def test_it_names_every_code_of_a_refusal(code: str) -> None:
    """In the table of errors."""
    assert f"`{code}`" in TEXT


@pytest.mark.parametrize("reason", Reason)
def test_it_names_every_reason_for_no_job(reason: Reason) -> None:
    """In the table of reasons."""
    assert f"`{reason}`" in TEXT


@pytest.mark.parametrize(
    "model", [JobSubmission, WorkerRegistration, WorkerHeartbeat, NextJob, JobCompletion, *JOB_PARAMS_OF.values()]
)
def test_it_names_every_field_of_a_body(model: type[WireModel]) -> None:
    """As a word of its own."""
    assert set(model.model_fields) - set(re.findall(r"\w+", TEXT)) == set()


def test_its_budget_is_one() -> None:
    """Of the settings."""
    assert set(re.findall(r'RateLimit: "(\w+)"', TEXT)) <= set(Budget)


@pytest.fixture(scope="module")
def receiver() -> dict[str, Any]:
    """The document's Python, executed."""
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def test_its_receiver_believes_the_tracker(receiver: dict[str, Any]) -> None:
    """What the tracker signs now is genuine, also with parts beside it that nobody knows yet."""
    body, now = b'{"job_id":"x"}', int(time.time())
    header = sign_notice(SECRET, body, now)
    assert receiver["is_genuine"](SECRET, header, body)
    assert receiver["is_genuine"](SECRET, f"{header},v2=abc", body)


@pytest.mark.parametrize(
    ("secret", "changed", "age_s"),
    [("whsec_other", b"", 0), (SECRET, b" ", 0), (SECRET, b"", 301), (SECRET, b"", -310)],
)
def test_its_receiver_believes_nobody_else(receiver: dict[str, Any], secret: str, changed: bytes, age_s: int) -> None:
    """Another secret, a body that was changed, an old copy, a time to come."""
    header = sign_notice(secret, b"{}", int(time.time()) - age_s)
    assert not receiver["is_genuine"](SECRET, header, b"{}" + changed)


@pytest.mark.parametrize("header", ["", "t=1", "v1=abc", "t=x,v1=abc", "t=1,t=2,v1=é"])
def test_its_receiver_takes_no_rubbish(receiver: dict[str, Any], header: str) -> None:
    """False, never an exception."""
    assert receiver["is_genuine"](SECRET, header, b"{}") is False


def test_its_webhook_is_signed_as_it_says() -> None:
    """With the secret of the ticket above it."""
    (secret,) = re.findall(r'"webhook_secret":"(whsec_\w+)"', TEXT)
    (header,) = re.findall(rf"{SIGNATURE_HEADER}: (t=.*)", TEXT)
    (body,) = re.findall(rf"{SIGNATURE_HEADER}: .*\n\n(.*)\n", TEXT)
    notice = WebhookNotice.model_validate_json(body)
    assert notice.model_dump_json(exclude_none=True) == body
    check_notice(secret, header, body.encode(), notice.completed_at)


def test_its_pauses_between_webhooks() -> None:
    """Are those of the sender."""
    assert PAUSES_S == (10, 60, 5 * 60, 30 * 60, 2 * 3600, 6 * 3600)
    assert "after 10 s, 1 and 5 minutes, half an\nhour, 2 and 6 hours" in TEXT
