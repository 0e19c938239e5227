"""Signatures of webhooks."""

import hashlib
import hmac

import pytest
from gpunode_protocol.errors import BadSignature
from gpunode_protocol.tasks import Task
from gpunode_protocol.webhook_notices import TOLERANCE_S, WebhookNotice, check_notice, sign_notice

SECRET, BODY, NOW = "whsec_abc", b'{"job_id":"1"}', 1_750_000_000


def test_the_signature_is_what_the_docs_say() -> None:
    """HMAC-SHA-256 of time, dot and body, as hex; so any receiver can check it."""
    code = hmac.new(b"whsec_abc", b'1750000000.{"job_id":"1"}', hashlib.sha256).hexdigest()
    assert sign_notice(SECRET, BODY, NOW) == f"t=1750000000,v1={code}"


@pytest.mark.parametrize("age", [0, TOLERANCE_S, -TOLERANCE_S])
def test_what_was_signed_is_believed(age: int) -> None:
    """Also if it took a while, or the clocks differ a little."""
    check_notice(SECRET, sign_notice(SECRET, BODY, NOW), BODY, NOW + age)


def test_other_signatures_beside_it_are_overlooked() -> None:
    """One that fits is enough; spaces do not matter."""
    check_notice(SECRET, f"v0=x, {sign_notice(SECRET, BODY, NOW)},v1=00, v2=abc", BODY, NOW)


@pytest.mark.parametrize(
    ("secret", "signature", "body", "now", "words"),
    [
        ("whsec_abd", sign_notice(SECRET, BODY, NOW), BODY, NOW, "not signed with this secret"),
        (SECRET, sign_notice(SECRET, BODY, NOW), BODY + b" ", NOW, "its body was changed"),
        (SECRET, sign_notice(SECRET, BODY, NOW).replace("t=1750000000", "t=1750000001"), BODY, NOW, "not signed"),
        (SECRET, sign_notice(SECRET, BODY, NOW), BODY, NOW + TOLERANCE_S + 1, "301 s ago"),
        (SECRET, sign_notice(SECRET, BODY, NOW), BODY, NOW - TOLERANCE_S - 1, "301 s ago"),
        (SECRET, "", BODY, NOW, "has no time"),
        (SECRET, "t=1,t=2,v1=00", BODY, NOW, "has no time"),
        (SECRET, "t=-1,v1=00", BODY, NOW, "has no time"),
        (SECRET, f"t={'9' * 5000},v1=00", BODY, NOW, "has no time"),
        (SECRET, f"t={NOW}", BODY, NOW, "not signed"),
        (SECRET, f"t={NOW},v1=ÿ", BODY, NOW, "not signed"),
    ],
)
def test_all_else_is_refused(secret: str, signature: str, body: bytes, now: int, words: str) -> None:
    """Another secret, body or time; an old copy; nonsense."""
    with pytest.raises(BadSignature, match=words):
        check_notice(secret, signature, body, now)


def test_a_notice_leaves_out_what_there_is_not() -> None:
    """No error of a job that has none."""
    notice = WebhookNotice(job_id="1", type=Task.LLM, status="completed", completed_at=NOW)
    text = '{"job_id":"1","type":"llm","status":"completed","completed_at":1750000000}'
    assert notice.model_dump_json(exclude_none=True) == text
