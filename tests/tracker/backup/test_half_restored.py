"""Folders in which a restore goes on, or was cut off."""

from collections.abc import Callable
from typing import Any

import pytest
from gpunode_tracker.backup import restoring
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.errors import DatabaseUnusable
from gpunode_tracker.tracker import Tracker

from tests.tracker.backup.conftest import Backup, serving
from tests.tracker.databases import ON_SQLITE
from tests.tracker.parties import TestClock

Empty = Callable[..., Any]


@ON_SQLITE
async def test_no_tracker_starts_on_what_was_half_restored(
    backup: Backup, clock: TestClock, empty: Empty, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill or a power cut: with the old keys it would begin a new, empty ledger."""
    refused = []
    finish = restoring._restore_database

    async def start_meanwhile(settings: TrackerSettings, *rest: Any) -> None:
        with pytest.raises(DatabaseUnusable, match="was cut off") as caught:
            await Tracker.open(settings, clock)
        refused.append(str(caught.value))
        await finish(settings, *rest)

    monkeypatch.setattr(restoring, "_restore_database", start_meanwhile)
    with empty("sqlite") as target:
        await restoring.restore(target, backup.path, clock)
        assert len(refused) == 1
        async with serving(target, clock) as world:
            assert (await world.balance(key=backup.lived.key)).account == backup.lived.account
