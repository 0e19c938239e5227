"""What is due is sent, again and again if need be, to a real receiver on loopback."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol.webhook_notices import check_notice
from gpunode_tracker.app import create_app
from gpunode_tracker.errors import StorageUnavailable
from gpunode_tracker.sealing import Sealer, new_key
from gpunode_tracker.storage.database import Database
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.webhooks.delivery import Deliverer
from gpunode_tracker.webhooks.sender import AT_ONCE_PER_ACCOUNT, HOLD_S, PAUSES_S, WebhookSender

from tests.tracker.parties import TestClock, job_id
from tests.tracker.webhooks.ended_jobs import make_due, new_account, row_of, submit
from tests.tracker.webhooks.receiver import Answer, Receiver, is_loopback, receiving, status


def _sender(tracker: Tracker, deliverer: Deliverer, *, sealer: Sealer | None = None) -> WebhookSender:
    return WebhookSender(
        tracker.database,
        sealer or tracker.sealer,
        tracker.metrics,
        tracker.clock,
        deliverer,
        tracker.wake_webhooks,
    )


@asynccontextmanager
async def _sending(tracker: Tracker, folder: Path, *answers: Answer) -> AsyncIterator[tuple[WebhookSender, Receiver]]:
    async with (
        receiving(folder, *answers) as receiver,
        Deliverer.open(resolver=receiver.resolver, check=is_loopback, tls=receiver.tls) as deliverer,
    ):
        yield _sender(tracker, deliverer), receiver


async def _send(sender: WebhookSender) -> None:
    await sender.start_due()
    await sender.settle()


async def test_a_job_s_end_is_told_and_signed(tracker: Tracker, tmp_path: Path) -> None:
    """Once; the receiver can verify it with the secret of the ticket, and fetches the result itself."""
    secret = await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path) as (sender, receiver):
        await _send(sender)
        await _send(sender)
    (letter,) = receiver.letters
    assert letter.headers["Content-Type"] == "application/json"
    check_notice(secret, letter.headers["X-Gpunode-Signature"], letter.body, tracker.now)
    assert json.loads(letter.body) == {
        "job_id": job_id(1),
        "type": "llm",
        "status": "completed",
        "completed_at": tracker.now,
    }
    row = await row_of(tracker, 1)
    assert (row["tries"], row["due_at"], row["delivered_at"], row["problem"]) == (1, None, tracker.now, None)
    assert b'gpunode_tracker_webhooks_total{outcome="delivered"} 1.0' in tracker.metrics.render()


async def test_a_failure_is_told_with_its_reason(tracker: Tracker, tmp_path: Path) -> None:
    """So that the receiver need not ask."""
    await submit(tracker, 1, await new_account(tracker), status="failed", error="no worker: \x01 é")
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path) as (sender, receiver):
        await _send(sender)
    told = json.loads(receiver.letters[0].body)
    assert (told["status"], told["error"]) == ("failed", "no worker: \x01 é")


async def test_a_failure_is_tried_again(tracker: Tracker, clock: TestClock, tmp_path: Path) -> None:
    """After a pause, with a fresh signature over the same body."""
    secret = await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path, status(500), status(200)) as (sender, receiver):
        await _send(sender)
        row = await row_of(tracker, 1)
        assert (row["due_at"], row["problem"]) == (tracker.now + PAUSES_S[0], "it was answered 500")
        clock.advance(PAUSES_S[0] - 1)
        await _send(sender)
        assert len(receiver.letters) == 1
        clock.advance(1)
        await _send(sender)
    first, second = receiver.letters
    assert first.body == second.body
    check_notice(secret, second.headers["X-Gpunode-Signature"], second.body, tracker.now)
    assert (await row_of(tracker, 1))["delivered_at"] == tracker.now


async def test_pauses_grow_and_then_it_is_given_up(tracker: Tracker, clock: TestClock, tmp_path: Path) -> None:
    """After seven tries in eight and a half hours; the last reason stays."""
    await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path, status(500)) as (sender, receiver):
        for pause_s in PAUSES_S:
            await _send(sender)
            assert (await row_of(tracker, 1))["due_at"] == tracker.now + pause_s
            clock.advance(pause_s)
        await _send(sender)
        clock.advance(30 * 24 * 3600)
        await _send(sender)
    assert len(receiver.letters) == 7
    row = await row_of(tracker, 1)
    assert (row["tries"], row["due_at"], row["problem"]) == (7, None, "it was answered 500")
    assert b'gpunode_tracker_webhooks_total{outcome="given_up"} 1.0' in tracker.metrics.render()


async def test_what_can_never_arrive_is_given_up_at_once(tracker: Tracker, tmp_path: Path) -> None:
    """A name that leads into the tracker's own network is not asked again and again."""
    await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with (
        receiving(tmp_path) as receiver,
        Deliverer.open(resolver=receiver.resolver, tls=receiver.tls) as deliverer,
    ):
        await _send(_sender(tracker, deliverer))
    row = await row_of(tracker, 1)
    assert (row["due_at"], row["problem"]) == (None, "the host leads to an address that is not public")


async def test_without_the_sealing_key_it_is_given_up(tracker: Tracker, tmp_path: Path) -> None:
    """The row says why."""
    await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path) as (_, receiver), Deliverer.open() as deliverer:
        await _send(_sender(tracker, deliverer, sealer=Sealer((new_key(),))))
    assert "cannot be opened" in (await row_of(tracker, 1))["problem"]
    assert receiver.letters == []


async def test_two_replicas_never_send_the_same_one(tracker: Tracker, tmp_path: Path) -> None:
    """Both look at the same time, through connections of their own; each webhook goes once."""
    account = await new_account(tracker)
    numbers = range(1, AT_ONCE_PER_ACCOUNT + 1)
    for number in numbers:
        await submit(tracker, number, account)
        await make_due(tracker, number)
    other = Database(tracker.settings.sqlalchemy_url)
    async with (
        receiving(tmp_path) as receiver,
        Deliverer.open(resolver=receiver.resolver, check=is_loopback, tls=receiver.tls) as deliverer,
    ):
        senders = [
            WebhookSender(database, tracker.sealer, tracker.metrics, tracker.clock, deliverer, asyncio.Event())
            for database in (tracker.database, other)
        ]
        await asyncio.gather(*(sender.start_due() for sender in senders))
        await asyncio.gather(*(sender.settle() for sender in senders))
    await other.close()
    told = sorted(json.loads(letter.body)["job_id"] for letter in receiver.letters)
    assert told == [job_id(number) for number in numbers]


async def test_slow_receivers_of_one_account_do_not_hold_up_others(tracker: Tracker, tmp_path: Path) -> None:
    """It gets its share of what is sent at once, and the other account's goes beside it."""
    over = asyncio.Event()

    async def slow_for_paths(request: web.Request) -> web.StreamResponse:
        if request.path == "/slow":
            await over.wait()
        return web.Response()

    slow, quick = await new_account(tracker), await new_account(tracker)
    for number in range(1, AT_ONCE_PER_ACCOUNT + 3):
        await submit(tracker, number, slow, url="https://hooks.example/slow")
        await make_due(tracker, number)
    async with _sending(tracker, tmp_path, slow_for_paths) as (sender, receiver):
        await sender.start_due()
        while len(receiver.letters) < AT_ONCE_PER_ACCOUNT:
            receiver.arrived.clear()
            await receiver.arrived.wait()
        await submit(tracker, 100, quick, url="https://hooks.example/quick")
        await make_due(tracker, 100)
        receiver.arrived.clear()
        await sender.start_due()
        await receiver.arrived.wait()
        assert receiver.letters[-1].path == "/quick"
        assert len(receiver.letters) == AT_ONCE_PER_ACCOUNT + 1
        over.set()
        await sender.settle()
        await _send(sender)
    assert len(receiver.letters) == AT_ONCE_PER_ACCOUNT + 3


async def test_a_sender_that_dies_in_between_loses_nothing(tracker: Tracker, clock: TestClock, tmp_path: Path) -> None:
    """Another one sends it when the first one's time is over."""
    over = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        await over.wait()
        return web.Response()

    await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path, never, status(200)) as (sender, receiver):
        dying = asyncio.create_task(sender.run())
        await receiver.arrived.wait()
        dying.cancel()
        await asyncio.gather(dying, return_exceptions=True)
        over.set()
        clock.advance(HOLD_S)
        await _send(sender)
    assert (await row_of(tracker, 1))["delivered_at"] == tracker.now
    assert len(receiver.letters) == 2


async def test_a_database_that_fails_is_asked_again(
    tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The sender lives on, and says what happened."""
    await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    async with _sending(tracker, tmp_path) as (sender, receiver):
        failures = [StorageUnavailable("The disk is full."), ValueError("unforeseen")]
        look = sender.start_due

        async def sometimes() -> int | None:
            tracker.wake_webhooks.set()  # so that the test need not wait for the next look
            if failures:
                raise failures.pop(0)
            return await look()

        monkeypatch.setattr(sender, "start_due", sometimes)
        running = asyncio.create_task(sender.run())
        await receiver.arrived.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == [
        "The disk is full.",
        "Unexpected failure",
    ]


async def test_the_application_sends_what_becomes_due(tracker: Tracker, tmp_path: Path) -> None:
    """While it serves, as soon as it is told."""
    async with receiving(tmp_path) as receiver:
        app = create_app(
            tracker,
            open_deliverer=lambda: Deliverer.open(resolver=receiver.resolver, check=is_loopback, tls=receiver.tls),
        )
        async with TestClient(TestServer(app)):
            await submit(tracker, 1, await new_account(tracker))
            await make_due(tracker, 1)
            tracker.wake_webhooks.set()
            await receiver.arrived.wait()


async def test_addresses_and_secrets_are_not_logged(
    tracker: Tracker, clock: TestClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever happens; the job's id is enough to find it."""
    caplog.set_level(logging.DEBUG)
    secret = await submit(tracker, 1, await new_account(tracker))
    await make_due(tracker, 1)
    answers = [status(500), status(302, Location="https://other.example/hush"), status(200)]
    async with _sending(tracker, tmp_path, *answers) as (sender, _):
        for _ in answers:
            await _send(sender)
            clock.advance(PAUSES_S[-1])
    assert job_id(1) in caplog.text
    shown = caplog.text + "".join(str(vars(record)) for record in caplog.records if record.name.startswith("gpunode"))
    for word in ("hush", "hooks.example", secret, "v1="):
        assert word not in shown
