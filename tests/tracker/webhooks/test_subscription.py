"""A job's webhook until it is due."""

import base64

from gpunode_tracker import webhooks
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.webhooks.subscription import secret_context, url_context

from tests.tracker.parties import job_id
from tests.tracker.webhooks.ended_jobs import make_due, new_account, row_of, submit
from tests.tracker.webhooks.receiver import URL


async def test_address_and_secret_are_sealed(tracker: Tracker) -> None:
    """The table shows neither; each opens in its own place only."""
    secret = await submit(tracker, 1, await new_account(tracker))
    row = await row_of(tracker, 1)
    assert b"hooks" not in row["url"]
    assert tracker.sealer.open(row["url"], url_context(job_id(1))).decode() == URL
    assert tracker.sealer.open(row["secret"], secret_context(job_id(1))).decode() == secret


async def test_every_job_has_a_secret_of_its_own(tracker: Tracker) -> None:
    """32 random bytes, in text form."""
    account = await new_account(tracker)
    secrets = {await submit(tracker, number, account) for number in (1, 2)}
    assert len(secrets) == 2
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.urlsafe_b64decode(secret.removeprefix("whsec_") + "=")) == 32


async def test_the_secret_can_be_told_again(tracker: Tracker) -> None:
    """To a submission that comes again under its key; a job without a webhook has none."""
    secret = await submit(tracker, 1, await new_account(tracker))
    async with tracker.database.read() as connection:
        assert await webhooks.secret_of(connection, tracker.sealer, job_id(1)) == secret
        assert await webhooks.secret_of(connection, tracker.sealer, job_id(2)) is None


async def test_a_webhook_becomes_due_once(tracker: Tracker) -> None:
    """At its job's end, and not again."""
    await submit(tracker, 1, await new_account(tracker))
    assert (await row_of(tracker, 1))["due_at"] is None
    assert await make_due(tracker, 1)
    assert (await row_of(tracker, 1))["due_at"] == tracker.now
    assert not await make_due(tracker, 1)
    assert not await make_due(tracker, 2)
