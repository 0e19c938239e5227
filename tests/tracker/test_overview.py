"""``gpunode tracker show``."""

import json

import pytest
from gpunode_tracker.administration import administration
from gpunode_tracker.config import TrackerSettings
from gpunode_tracker.overview import overview, print_overview


async def test_the_network_at_a_glance(settings: TrackerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Network, keys and accounts, as JSON and for people."""
    async with administration(settings) as admin:
        account = await admin.create_account("Alice", credits_given=3)
        facts = await overview(admin)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["running"], facts["root_key_here"]) == (None, True)
    assert facts["accounts"][0]["spendable_microcredits"] == 3_000_000
    print_overview(facts)
    shown = capsys.readouterr().out
    assert all(text in shown for text in (facts["network"], account.id, "3.000000", "not running", "move it offline"))


async def test_names_are_no_markup(settings: TrackerSettings, capsys: pytest.CaptureFixture[str]) -> None:
    """Where registration is open, strangers name accounts."""
    async with administration(settings) as admin:
        await admin.create_account("[/red] [bold]x", credits_given=0)
        print_overview(await overview(admin))
    assert "[/red] [bold]x" in capsys.readouterr().out
