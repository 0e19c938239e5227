"""Opening and closing a tracker."""

import contextlib
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from gpunode_protocol.certificates import certificate_for
from gpunode_protocol.identity import Identity
from gpunode_protocol.mesh.errors import IdentityFileError
from gpunode_protocol.signing import sign
from gpunode_tracker.administration import Administration, administration
from gpunode_tracker.bans import BanKind
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import DatabaseUnusable
from gpunode_tracker.network_keys import DISPATCH_KEY_FILE
from gpunode_tracker.sealing_key_file import SEALING_KEYS_FILE
from gpunode_tracker.sharding import OVERLAP_S
from gpunode_tracker.tracker import Tracker

from tests.tracker.databases import ON_SQLITE
from tests.tracker.parties import START_AT, TestClock, advert


async def test_the_first_start_needs_nothing(tmp_path: Path) -> None:
    """An absent folder becomes a network with prices, an empty ledger and a signed head."""
    settings = TrackerSettings.load({"data_dir": tmp_path / "a" / "b", "mesh": False})
    tracker = await Tracker.open(settings, TestClock())
    info = tracker.network_info()
    assert tracker.sequencer.head is not None
    await tracker.close()
    assert (len(info.network), info.bootstrap) == (40, ())


async def test_the_network_stays_the_same(settings: TrackerSettings) -> None:
    """Network, log and prices survive a restart."""
    infos = []
    for _ in range(2):
        tracker = await Tracker.open(settings, TestClock())
        infos.append(tracker.network_info())
        await tracker.close()
    assert infos[0] == infos[1]


def _text(_content: bytes) -> bytes:
    return b"This is no database.\n" * 1_000


def _half(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _overwritten(content: bytes) -> bytes:
    return content[:4096] + bytes(len(content) - 4096)


@ON_SQLITE
@pytest.mark.parametrize("damage", [_text, _half, _overwritten])
async def test_a_damaged_database_is_refused_at_the_start(
    settings: TrackerSettings, damage: Callable[[bytes], bytes]
) -> None:
    """By the tracker and by the operator's commands: it names the file and what to do; coming again would not help."""
    await (await Tracker.open(settings, TestClock())).close()
    damaged = damage(settings.sqlite_path.read_bytes())
    settings.sqlite_path.write_bytes(damaged)
    with pytest.raises(
        DatabaseUnusable, match=r"tracker\.db is damaged, or is no database: .*tracker restore"
    ) as caught:
        await Tracker.open(settings, TestClock())
    assert "again later" not in str(caught.value)
    with pytest.raises(DatabaseUnusable, match="is damaged"):
        async with administration(settings, TestClock()):
            pass
    assert settings.sqlite_path.read_bytes() == damaged


@ON_SQLITE
@pytest.mark.parametrize("is_there", [True, False])
async def test_a_lost_database_is_not_made_anew(is_there: bool, settings: TrackerSettings) -> None:
    """Keys that a first start made after it tell that there was one: balances would be gone without a word."""
    await (await Tracker.open(settings)).close()
    settings.sqlite_path.unlink()
    if is_there:
        settings.sqlite_path.touch()
    before = sorted(settings.data_dir.iterdir())
    with pytest.raises(
        DatabaseUnusable, match=r"tracker\.db is (empty|missing), .*sealing_keys\.json.*tracker restore"
    ):
        await Tracker.open(settings)
    assert sorted(settings.data_dir.iterdir()) == before


@ON_SQLITE
async def test_a_database_without_its_write_ahead_log_is_not_filled_anew(
    settings: TrackerSettings, tmp_path: Path
) -> None:
    """As after a copy of ``tracker.db`` alone: the file is not empty, but all that was in it is."""
    await (await Tracker.open(settings)).close()
    settings.sqlite_path.unlink()
    source = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    with contextlib.closing(source):
        source.execute("PRAGMA journal_mode = WAL")
        source.execute("CREATE TABLE accounts (id)")
        shutil.copy(tmp_path / "new.db", settings.sqlite_path)
    assert settings.sqlite_path.stat().st_size > 0
    with pytest.raises(DatabaseUnusable, match=r"tracker\.db is empty, .*tracker restore"):
        await Tracker.open(settings)


@ON_SQLITE
async def test_a_first_start_that_was_cut_off_begins_again(settings: TrackerSettings) -> None:
    """The root key and a signing key are made before the ledger is on disk."""
    await (await Tracker.open(settings)).close()
    settings.sqlite_path.write_bytes(b"")
    for name in (DISPATCH_KEY_FILE, SEALING_KEYS_FILE):
        (settings.data_dir / name).unlink()
    await (await Tracker.open(settings)).close()


async def test_topics_are_sharded_as_the_network_grows(settings: TrackerSettings) -> None:
    """The new count is published with the old one, for five minutes; a restart with an empty index keeps it."""
    clock = TestClock(START_AT + OVERLAP_S)
    tracker = await Tracker.open(settings, TestClock())
    tracker.clock = clock
    for number in range(100):
        node = Identity.from_seed(number.to_bytes(32, "big"))
        certificate = certificate_for(node.peer_id, network=tracker.keys.network, kid="k", now=START_AT)
        signed = sign(node, certificate).envelope
        tracker.index.update(advert(node, signed, tracker.keys.network, expires_at=int(clock()) + 150), clock())
    await tracker.reshard()
    info = tracker.network_info()
    assert (info.shard_bits, info.previous_shard_bits) == (2, 0)
    await tracker.close()
    tracker = await Tracker.open(settings, clock)
    await tracker.reshard()
    assert (tracker.network_info().shard_bits, tracker.network_info().previous_shard_bits) == (2, 0)
    clock.advance(OVERLAP_S)
    assert (tracker.network_info().shard_bits, tracker.network_info().previous_shard_bits) == (2, None)
    await tracker.reshard()
    assert (tracker.network_info().shard_bits, tracker.network_info().previous_shard_bits) == (0, 2)
    await tracker.close()


async def test_a_readable_root_key_is_refused(settings: TrackerSettings) -> None:
    """A key that others may read is an error that says what to do."""
    (settings.data_dir / "root.key").chmod(0o644)
    with pytest.raises(IdentityFileError, match="chmod 600"):
        await Tracker.open(settings, TestClock())


async def test_what_others_changed(tracker: Tracker, clock: TestClock) -> None:
    """Bans and prices of another process count after the next refresh, and banned nodes leave the index."""
    admin = Administration(tracker.settings, tracker.database, tracker.keys, clock)
    node = Identity.generate()
    kid, signer = tracker.keys.signer(clock())
    certificate = sign(signer, certificate_for(node.peer_id, network=tracker.keys.network, kid=kid, now=tracker.now))
    tracker.index.update(advert(node, certificate.envelope, tracker.keys.network), clock())
    table = await admin.prices.publish(tracker.prices.tasks, {})
    await admin.bans.place(BanKind.NODE, node.peer_id, "lies")
    assert (tracker.prices.version, len(tracker.index.find(clock()))) == (1, 1)
    await tracker.refresh()
    assert tracker.prices == table
    assert tracker.bans.find(BanKind.NODE, node.peer_id) is not None
    assert tracker.index.find(clock()) == []


async def test_bans_count_from_the_start(settings: TrackerSettings, clock: TestClock) -> None:
    """Without waiting for the first look."""
    async with administration(settings, clock) as admin:
        await admin.bans.place(BanKind.ADDRESS, "192.0.2.1", "floods")
    tracker = await Tracker.open(settings, clock)
    assert tracker.bans.find(BanKind.ADDRESS, "192.0.2.1") is not None
    await tracker.close()


async def test_a_published_signing_key_whose_file_is_missing(
    tracker: Tracker, clock: TestClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Is named once, while there is time to copy it."""
    admin = Administration(tracker.settings, tracker.database, tracker.keys, clock)
    kid = (await admin.rotate_key(root_key=None, at_once=False)).keys[-1].kid
    file = tracker.settings.data_dir / "signing-keys" / f"{kid}.key"
    content = file.read_bytes()
    file.unlink()
    for _ in range(2):
        await tracker.refresh()
    assert [record.__dict__["kid"] for record in caplog.records] == [kid]
    file.write_bytes(content)
    file.chmod(0o600)
    await tracker.refresh()
    assert len(caplog.records) == 1
    assert tracker.keys.missing(clock()) == frozenset()
