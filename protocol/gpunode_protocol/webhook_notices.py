"""What a webhook tells, and how its receiver knows that the tracker sent it.

The header ``X-Gpunode-Signature: t=<Unix seconds>,v1=<hex>`` carries the HMAC-SHA-256 of ``<t>.<body>``, the body being
the exact bytes that came. The key is the text of the ``webhook_secret`` in the job's ticket. Names in the header that
are not known here are overlooked, so that another kind of signature can come beside this one.
"""

import hashlib
import hmac
from typing import Final

from gpunode_protocol.errors import BadSignature
from gpunode_protocol.jobs_api import JobStatusName
from gpunode_protocol.signing import WireModel
from gpunode_protocol.validation import TaskField, UnixSeconds

SIGNATURE_HEADER: Final = "X-Gpunode-Signature"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 -- what all secrets of webhooks begin with
TOLERANCE_S: Final = 300
"""A signature that is older than this may be somebody's copy."""


class WebhookNotice(WireModel):
    """Body of a webhook: a job has ended. Its result is fetched with ``GET /api/v1/jobs/{job}``.

    error: why it failed.
    """

    job_id: str
    type: TaskField
    status: JobStatusName
    completed_at: UnixSeconds
    error: str | None = None


def sign_notice(secret: str, body: bytes, now: int) -> str:
    """Return the value of the header for a body that is sent now. now: Unix seconds."""
    return f"t={now},v1={_code(secret, body, now)}"


def check_notice(secret: str, signature: str, body: bytes, now: int) -> None:
    """Check what a receiver got. signature: the header's value. body: the bytes as they came. now: Unix seconds.

    Raises:
        BadSignature: not signed with this secret, changed on its way, or more than ``TOLERANCE_S`` old.
    """
    fields = [part.strip().partition("=") for part in signature.split(",")]
    times = [value for name, _, value in fields if name == "t"]
    codes = [value for name, _, value in fields if name == "v1"]
    if len(times) != 1 or not (times[0].isascii() and times[0].isdecimal() and len(times[0]) <= 12):
        raise BadSignature(f"{SIGNATURE_HEADER} has no time; it looks like t=1700000000,v1=….")
    sent_at = int(times[0])
    expected = _code(secret, body, sent_at).encode()
    if not any([hmac.compare_digest(expected, code.encode()) for code in codes]):  # noqa: C419 -- all, in equal time
        raise BadSignature("The webhook is not signed with this secret, or its body was changed.")
    if abs(now - sent_at) > TOLERANCE_S:
        raise BadSignature(f"The webhook was signed {abs(now - sent_at)} s ago: it may be a copy, or a clock is wrong.")


def _code(secret: str, body: bytes, now: int) -> str:
    return hmac.new(secret.encode(), b"%d." % now + body, hashlib.sha256).hexdigest()
