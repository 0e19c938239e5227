"""A job's webhook, from submission until it is due."""

import base64
import secrets
from typing import Final

from gpunode_protocol.webhook_notices import SECRET_PREFIX
from sqlalchemy.ext.asyncio import AsyncConnection

from gpunode_tracker.sealing import Sealer
from gpunode_tracker.storage import webhooks as stored
from gpunode_tracker.webhooks.url import WebhookUrl

SECRET_BYTES: Final = 32


async def add(connection: AsyncConnection, sealer: Sealer, job_id: str, url: WebhookUrl) -> str:
    """Keep a new job's webhook; return the secret that signs it, for the job's ticket."""
    secret = SECRET_PREFIX + base64.urlsafe_b64encode(secrets.token_bytes(SECRET_BYTES)).rstrip(b"=").decode()
    await stored.add_webhook(
        connection,
        job_id,
        url=sealer.seal(url.text.encode(), url_context(job_id)),
        secret=sealer.seal(secret.encode(), secret_context(job_id)),
    )
    return secret


async def secret_of(connection: AsyncConnection, sealer: Sealer, job_id: str) -> str | None:
    """Return the secret again, for a submission that comes again; None: the job has no webhook.

    Raises:
        KeysUnusable: it cannot be opened.
    """
    sealed = await stored.find_secret(connection, job_id)
    return None if sealed is None else sealer.open(sealed, secret_context(job_id)).decode()


async def due(connection: AsyncConnection, job_id: str, now: int) -> bool:
    """Have a job's webhook sent, because the job has ended; return whether it has one that was not due before.

    To be called in the transaction that ends the job: then it is sent if and only if the job has ended. Afterwards,
    ``Tracker.wake_webhooks`` makes it go at once.
    """
    return await stored.make_due(connection, job_id, now=now)


def url_context(job_id: str) -> str:
    """Return the place that the sealed address belongs to."""
    return f"webhooks.url/{job_id}"


def secret_context(job_id: str) -> str:
    """Return the place that the sealed secret belongs to."""
    return f"webhooks.secret/{job_id}"
