"""Sends what is due, and tries again with growing pauses until it arrives or has been tried often enough."""

import asyncio
import logging
from collections import Counter
from typing import Final

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.tasks import Task
from gpunode_protocol.webhook_notices import SIGNATURE_HEADER, WebhookNotice, sign_notice

from gpunode_tracker import Clock
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.metrics import Metrics
from gpunode_tracker.sealing import Sealer
from gpunode_tracker.storage import webhooks as stored
from gpunode_tracker.storage.database import Database
from gpunode_tracker.webhooks.delivery import Deliverer, Outcome
from gpunode_tracker.webhooks.subscription import secret_context, url_context

logger = logging.getLogger(__name__)

PAUSES_S: Final = (10, 60, 5 * 60, 30 * 60, 2 * 3600, 6 * 3600)
"""Between one try and the next; after the last one it is given up. Policy: a receiver may be down for some hours."""
HOLD_S: Final = 60
"""Whoever sends one has it for so long; longer than a try can take."""
AT_ONCE: Final = 32
AT_ONCE_PER_ACCOUNT: Final = 8
"""So that one account's slow receivers do not hold up the others'."""
LOOK_INTERVAL_S: Final = 2.0
"""Other replicas and the operator's commands end jobs too, so the table is looked at this often."""


class WebhookSender:
    """Sends the webhooks of a database; there may be several.

    Args:
        database, sealer, metrics: the tracker's.
        clock: Unix seconds.
        deliverer: sends one.
        wake: set when one has become due.
    """

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        metrics: Metrics,
        clock: Clock,
        deliverer: Deliverer,
        wake: asyncio.Event,
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._metrics = metrics
        self._clock = clock
        self._deliverer = deliverer
        self._wake = wake
        self._sending: set[asyncio.Task[None]] = set()
        self._busy: Counter[str] = Counter()

    async def run(self) -> None:
        """Send whatever becomes due, until it is cancelled."""
        try:
            while True:
                self._wake.clear()
                pause_s = await self._attempt()
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def start_due(self) -> int | None:
        """Begin to send what is due, as far as there is room; return when the next is due, as Unix seconds.

        Raises:
            StorageUnavailable: the database does not answer.
        """
        async with self._database.read() as connection:
            next_at = await stored.next_due_at(connection)
        while next_at is not None and next_at <= self._now and len(self._sending) < AT_ONCE:
            claimed = await self._claim(AT_ONCE - len(self._sending))
            if not claimed:
                break
            for webhook in claimed:
                self._start(webhook)
        return next_at

    async def settle(self) -> None:
        """Wait until all that are being sent have arrived or failed."""
        while self._sending:
            await asyncio.gather(*self._sending)

    @property
    def _now(self) -> int:
        return int(self._clock())

    async def _claim(self, limit: int) -> list[stored.DueWebhook]:
        async with self._database.write() as connection:
            return await stored.claim_due(
                connection,
                now=self._now,
                hold_s=HOLD_S,
                limit=limit,
                per_account=AT_ONCE_PER_ACCOUNT,
                busy=self._busy,
            )

    async def _attempt(self) -> float:
        """Start what is due; return after how many seconds to look again. Failures are logged."""
        try:
            next_at = await self.start_due()
        except GpunodeError as error:
            logger.error("%s", error, extra={"event": "webhooks_failed"})  # noqa: TRY400 -- the message says it all
            return LOOK_INTERVAL_S
        except Exception:
            logger.exception("Unexpected failure", extra={"event": "webhooks_failed"})
            return LOOK_INTERVAL_S
        if next_at is None or next_at <= self._now:
            return LOOK_INTERVAL_S
        return min(LOOK_INTERVAL_S, next_at - self._clock())

    def _start(self, webhook: stored.DueWebhook) -> None:
        self._busy[webhook.account_id] += 1
        task = asyncio.create_task(self._send(webhook))
        self._sending.add(task)
        task.add_done_callback(lambda done: self._end(done, webhook.account_id))

    def _end(self, task: asyncio.Task[None], account_id: str) -> None:
        self._sending.discard(task)
        self._busy[account_id] -= 1
        if self._busy[account_id] <= 0:
            del self._busy[account_id]
        self._wake.set()  # there is room again

    async def _send(self, webhook: stored.DueWebhook) -> None:
        try:
            outcome = await self._post(webhook)
            await self._note(webhook, outcome)
        except GpunodeError as error:
            # whether it arrived is not known any more, so it goes again: receivers see some webhooks twice
            logger.error("%s", error, extra={"event": "webhooks_failed"})  # noqa: TRY400 -- the message says it all
        except Exception:
            logger.exception("Unexpected failure", extra={"event": "webhooks_failed", "job_id": webhook.job_id})

    async def _post(self, webhook: stored.DueWebhook) -> Outcome:
        try:
            url = self._sealer.open(webhook.url, url_context(webhook.job_id)).decode()
            secret = self._sealer.open(webhook.secret, secret_context(webhook.job_id)).decode()
        except KeysUnusable:
            return Outcome("its address cannot be opened: the sealing keys' file lacks the key", final=True)
        body = _body(webhook)
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sign_notice(secret, body, self._now)}
        return await self._deliverer.post(url, body, headers)

    async def _note(self, webhook: stored.DueWebhook, outcome: Outcome) -> None:
        now, tries = self._now, webhook.tries
        if outcome.problem is None:
            async with self._database.write() as connection:
                await stored.note_delivered(connection, webhook.job_id, tries, now=now)
            self._metrics.webhooks.labels("delivered").inc()
            return
        next_at = None if outcome.final or tries > len(PAUSES_S) else now + PAUSES_S[tries - 1]
        async with self._database.write() as connection:
            await stored.note_failed(connection, webhook.job_id, tries, outcome.problem, next_at=next_at)
        kind = "given_up" if next_at is None else "failed"
        self._metrics.webhooks.labels(kind).inc()
        logger.info(
            "The webhook of job %s %s at try %d: %s",
            webhook.job_id,
            "was given up" if next_at is None else "failed",
            tries,
            outcome.problem,
            extra={"event": f"webhook_{kind}", "job_id": webhook.job_id, "tries": tries},
        )


def _body(webhook: stored.DueWebhook) -> bytes:
    notice = WebhookNotice.model_validate(
        {
            "job_id": webhook.job_id,
            "type": Task(webhook.type),
            "status": webhook.status,
            "completed_at": webhook.completed_at,
            "error": webhook.error,
        }
    )
    return notice.model_dump_json(exclude_none=True).encode()
