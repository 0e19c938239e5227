"""Several trackers on one PostgreSQL, each with a copy of the keys: together they do what one would."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from gpunode_protocol import tracker_api as api
from gpunode_protocol.identity import Identity
from gpunode_protocol.ledger_proofs import ReceiptProof
from gpunode_protocol.merkle import inclusion_is_valid, leaf_hash
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker import upkeep
from gpunode_tracker.administration import Administration
from gpunode_tracker.app import create_app
from gpunode_tracker.audit import Actor
from gpunode_tracker.ban_desk import BanDesk
from gpunode_tracker.bans import Ban, BanKind
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.entries import Bookkeeper, account_name, node_name, reserved_name
from gpunode_tracker.errors import KeysUnusable
from gpunode_tracker.keys import ROOT_KEY_FILE
from gpunode_tracker.revocation_list import current_revocations
from gpunode_tracker.sequencer import TAKEOVER_S
from gpunode_tracker.storage import ledger, nodes
from gpunode_tracker.storage.checkpoints import newest_transfer
from gpunode_tracker.storage.database import Database
from gpunode_tracker.storage.grants import SETTLEMENT_PERIOD_S
from gpunode_tracker.storage.nodes import revoked_certificates
from gpunode_tracker.storage.tables import balance_checkpoints, meta, price_tables
from gpunode_tracker.tracker import Tracker
from gpunode_tracker.upkeep import return_expired, shorten_sums
from sqlalchemy import func, select, text

from tests.tracker.conftest import World
from tests.tracker.databases import ON_POSTGRESQL
from tests.tracker.parties import Job, TestClock

pytestmark = ON_POSTGRESQL

CREDIT = 1_000_000


@asynccontextmanager
async def _world(tracker: Tracker) -> AsyncIterator[World]:
    """Serve a tracker without its upkeep, which tests do by themselves."""
    app = create_app(tracker)
    app.cleanup_ctx.clear()
    async with TestClient(TestServer(app)) as http:
        yield World(tracker, http, Administration(tracker.settings, tracker.database, tracker.keys, tracker.clock))
    await tracker.close()


def _copy_of(settings: TrackerSettings, name: str) -> TrackerSettings:
    """Return the settings of another replica."""
    folder = settings.data_dir.with_name(name)
    shutil.copytree(settings.data_dir, folder)
    return settings.model_copy(update={"data_dir": folder})


@pytest.fixture
async def worlds(settings: TrackerSettings, clock: TestClock) -> AsyncIterator[tuple[World, World]]:
    """Two replicas; the second, which started last, numbers the ledger's leaves."""
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(_world(await Tracker.open(settings, clock)))
        second = await stack.enter_async_context(_world(await Tracker.open(_copy_of(settings, "second"), clock)))
        yield first, second


async def test_replicas_start_at_once(settings: TrackerSettings, clock: TestClock) -> None:
    """They find the same secrets, prices and log."""
    trackers = await asyncio.gather(*(Tracker.open(_copy_of(settings, f"r{n}"), clock) for n in range(3)))
    assert len({tracker.challenges._secret for tracker in trackers}) == 1
    assert len({tracker.sequencer._log for tracker in trackers}) == 1
    assert len({tracker.sequencer._epoch for tracker in trackers}) == 3
    assert len({tracker.keys.keyset.envelope.body for tracker in trackers}) == 1
    for tracker in trackers:
        await tracker.close()


async def test_migrations_run_once(empty_database_url: str) -> None:
    """All start on an empty database; one makes the tables, and the others wait for that."""
    databases = [Database(empty_database_url) for _ in range(4)]
    await asyncio.gather(*(database.migrate() for database in databases))
    async with databases[0].read() as connection:
        assert (await connection.execute(select(func.count()).select_from(meta))).scalar_one() == 0
    for database in databases:
        await database.close()


async def test_the_first_start_of_two_with_one_root_key(
    empty_database_url: str, settings: TrackerSettings, tmp_path: Path, clock: TestClock
) -> None:
    """One of them makes the network; the other lacks its signing key, says so, and makes nothing."""
    opened = []
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir(mode=0o700)
        shutil.copy(settings.data_dir / ROOT_KEY_FILE, folder)
        values = {"data_dir": folder, "mesh": False, "database_url": empty_database_url}
        opened.append(Tracker.open(TrackerSettings.load(values), clock))
    results = await asyncio.gather(*opened, return_exceptions=True)
    (winner,) = [result for result in results if isinstance(result, Tracker)]
    (loser,) = [result for result in results if not isinstance(result, Tracker)]
    assert isinstance(loser, KeysUnusable)
    assert "signing key" in str(loser)
    assert winner.keys.keyset.body.sequence == 1
    async with winner.database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(price_tables))).scalar_one() == 1
    await winner.close()


async def test_grants_do_not_overdraw(worlds: tuple[World, World]) -> None:
    """Ten at once want all that an account has; one gets it."""
    _, key = await worlds[0].account(credits_given=10)
    client = Identity.generate()
    body = api.GrantRequest(peer=client.peer_id, tasks=(Task.LLM,), open_microcredits=10 * CREDIT)
    asked = [worlds[number % 2].post(api.GRANTS_PATH, body, key=key) for number in range(10)]
    statuses = [response.status for response in await asyncio.gather(*asked)]
    assert sorted(statuses) == [201] + [402] * 9
    balance = await worlds[0].balance(key=key)
    assert (balance.spendable_microcredits, balance.reserved_microcredits) == (0, 10 * CREDIT)


async def test_a_receipt_is_paid_once(worlds: tuple[World, World]) -> None:
    """Client and node send it to different trackers at the same time."""
    deal = await worlds[0].job()
    item = deal.job.item(10)
    answers = await asyncio.gather(*(worlds[number % 2].settle(item) for number in range(8)))
    assert sorted(answer[0].status for answer in answers) == ["duplicate"] * 7 + ["settled"]


async def test_batches_in_opposite_orders(worlds: tuple[World, World]) -> None:
    """Many clients, nodes and grants, in two batches that meet: neither waits for the other for ever."""
    deals = [await worlds[0].job() for _ in range(6)]
    items = [deal.job.item(5 + number) for number, deal in enumerate(deals)]
    batches = (items, items[::-1], items[3:] + items[:3])
    answers = await asyncio.gather(*(worlds[n % 2].settle(*batch) for n, batch in enumerate(batches * 2)))
    paid = [result for answer in answers for result in answer if result.status == "settled"]
    assert len(paid) == len(items)
    assert {result.status for answer in answers for result in answer} == {"settled", "duplicate"}


async def test_two_grants_for_one_job_at_two_trackers(worlds: tuple[World, World]) -> None:
    """Each pays, and that their ranges overlap is noticed, whichever comes second."""
    deal = await worlds[0].job()
    other = await worlds[0].grant(deal.key, deal.job.client, open_microcredits=CREDIT)
    again = Job(worlds[0].network, deal.job.client, deal.job.node, other.jti, segment=1)
    await asyncio.gather(worlds[0].settle(deal.job.item(10)), worlds[1].settle(again.item(10)))
    assert len(await worlds[0].evidence()) == 1


async def test_a_challenge_works_once(worlds: tuple[World, World]) -> None:
    """At whichever tracker, and for whichever of two who use it at once."""
    node = Identity.generate()
    registration = await worlds[0].registration(node)
    body = api.RegisterRequest(registration=registration)
    responses = await asyncio.gather(*(world.post(api.REGISTER_PATH, body) for world in worlds))
    assert sorted(response.status for response in responses) == [201, 422]


async def test_a_node_registers_at_two_trackers_at_once(worlds: tuple[World, World]) -> None:
    """It is one node, with the token of the one that came second."""
    node = Identity.generate()
    replies = await asyncio.gather(*(world.register(node, region=Region.EUROPE) for world in worlds))
    statuses = [(await worlds[0].get(api.BALANCE_PATH, token=reply.token)).status for reply in replies]
    assert sorted(statuses) == [200, 401]


async def test_linking_while_the_node_is_paid(worlds: tuple[World, World]) -> None:
    """Whichever comes first, everything that it earned ends up at the account."""
    _, owner_key = await worlds[0].account()
    deal = await worlds[0].job()
    vouchers = [deal.job.partial(count) for count in range(1, 9)]
    settled = [worlds[0].settle(voucher) for voucher in vouchers]
    *_, response = await asyncio.gather(*settled, worlds[1].link(deal.job.node, owner_key))
    assert response.status == 200
    async with worlds[0].tracker.database.read() as connection:
        assert await ledger.balance(connection, node_name(deal.job.node.peer_id)) == 0
        reserved = await ledger.balance(connection, reserved_name(deal.job.jti))
    paid = CREDIT - reserved
    assert paid == 30 * 8
    assert (await worlds[0].balance(key=owner_key)).spendable_microcredits == 100 * CREDIT + paid


async def test_a_node_is_not_linked_twice(worlds: tuple[World, World]) -> None:
    """Its earnings move once, to the one that came first; the second account has it from then on."""
    deal = await worlds[0].job()
    await worlds[0].settle(deal.job.item(10))
    keys = [(await worlds[0].account(credits_given=0))[1] for _ in worlds]
    await asyncio.gather(*(world.link(deal.job.node, key) for world, key in zip(worlds, keys, strict=True)))
    earned = [(await worlds[0].balance(key=key)).spendable_microcredits for key in keys]
    assert sorted(earned) == [0, 300]


async def test_reservations_go_back_once(worlds: tuple[World, World], clock: TestClock) -> None:
    """Both tidy up at the same time."""
    account, key = await worlds[0].account(credits_given=100)
    client = Identity.generate()
    for _ in range(5):
        await worlds[0].grant(key, client, open_microcredits=CREDIT)
    clock.advance(3_600 + SETTLEMENT_PERIOD_S + 1)
    closed = await asyncio.gather(*(return_expired(world.tracker) for world in worlds * 2))
    assert sum(closed) == 5
    async with worlds[0].tracker.database.read() as connection:
        assert await ledger.balance(connection, account_name(account)) == 100 * CREDIT


async def test_a_checkpoint_waits_for_transfers_that_are_not_committed_yet(
    worlds: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They got their numbers before ones that are: a sum up to the newest number must have them."""
    monkeypatch.setattr(upkeep, "CHECKPOINT_TRANSFERS", 1)
    database = worlds[0].tracker.database
    book = Bookkeeper(worlds[0].network, worlds[0].tracker.now)
    async with database.read() as connection:
        seen = await newest_transfer(connection)
    async with database.write() as slow:
        await ledger.append(slow, book.issue("a", 5))
        async with database.write() as quick:
            for _ in range(3):
                await ledger.append(quick, book.issue("a", 7))
        shortening = asyncio.create_task(shorten_sums(worlds[1].tracker.database, seen))
        await _somebody_waits(database)
    await shortening
    async with database.read() as connection:
        kept = select(balance_checkpoints.c.microcredits).where(balance_checkpoints.c.account == account_name("a"))
        assert (await connection.execute(kept)).scalar_one() == 26
        assert await ledger.balance(connection, account_name("a")) == 26


async def _somebody_waits(database: Database) -> None:
    """Return when a transaction waits for a lock."""
    async with asyncio.timeout(10):
        while True:
            async with database.read() as connection:
                waiting = await connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
                if waiting.scalar_one():
                    return


async def test_a_ban_meets_a_first_registration(worlds: tuple[World, World], monkeypatch: pytest.MonkeyPatch) -> None:
    """The node has no row yet that both could lock; its certificate would live for days."""
    node, database = Identity.generate(), worlds[0].tracker.database
    desk = BanDesk(database, worlds[0].tracker.clock, Actor("operator"))
    save, bans = nodes.save_node, list[asyncio.Task[Ban]]()

    async def save_during_a_ban(*args: Any, **options: Any) -> None:
        bans.append(asyncio.create_task(desk.place(BanKind.NODE, node.peer_id, "spam")))
        waiting = asyncio.create_task(_somebody_waits(database))
        await asyncio.wait([bans[0], waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await save(*args, **options)

    monkeypatch.setattr(nodes, "save_node", save_during_a_ban)
    await worlds[1].register(node)
    await bans[0]
    async with database.read() as connection:
        assert len(await revoked_certificates(connection, now=worlds[0].tracker.now)) == 1


async def test_revocations_have_one_sequence(worlds: tuple[World, World]) -> None:
    """Whoever sees the change first signs the list; the others take it."""
    deal = await worlds[0].job()
    await worlds[0].admin.revoke_grant(deal.job.jti)
    now = worlds[0].tracker.now
    lists = await asyncio.gather(
        *(current_revocations(world.tracker.database, world.tracker.keys, now=now) for world in worlds * 3)
    )
    assert {signed.body.sequence for signed in lists} == {worlds[0].tracker.revocations.body.sequence + 1}
    assert {signed.body.grants for signed in lists} == {(deal.job.jti,)}


async def test_one_log_of_both(worlds: tuple[World, World], clock: TestClock) -> None:
    """Entries of either come into it; either proves them, and the first takes over when the second is gone."""
    first, second = worlds
    deal = await first.job()
    voucher, receipt = deal.job.finished(10)
    await first.settle(api.SettlementItem(voucher=voucher.envelope, receipt=receipt.envelope))
    await second.account()
    await second.tracker.sequence()
    await first.tracker.sequence()
    path = api.RECEIPT_PATH.format(receipt=receipt.digest.hex())
    proofs = [ReceiptProof.model_validate_json(await (await world.get(path, key=deal.key)).text()) for world in worlds]
    assert proofs[0] == proofs[1]
    head = first.tracker.keys.trust.open_tree_head(proofs[0].head).body
    assert inclusion_is_valid(proofs[0].index, head.size, leaf_hash(proofs[0].entry), proofs[0].path, head.root)
    await first.account()
    clock.advance(TAKEOVER_S)
    await first.tracker.sequence()
    newer = first.tracker.sequencer.head
    assert newer is not None
    taken_over = first.tracker.keys.trust.open_tree_head(newer).body
    assert (taken_over.size, taken_over.epoch) == (head.size + 1, head.epoch + 1)
