import asyncio
import logging
from pathlib import Path

import pytest
from gpunode._home import (
    ASK_INTERVAL_S,
    JUDGE_INTERVAL_S,
    MEASURED_KEPT_S,
    NOWHERE,
    RETRY_INTERVAL_S,
    Home,
    HomeKeeper,
)
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import CallerPlace, RegionsReply

from tests.node.virtual_time import virtual_time
from tests.sdk.world import EPOCH, FakeTracker, Keys, regions_reply

IN_EUROPE = regions_reply(CallerPlace(region=Region.EUROPE))
NEAR, FAR = (10.0, 11.0, 12.0), (90.0, 91.0, 92.0)
BY_ADDRESS, BY_ROUND_TRIPS = Home(Region.EUROPE, "geoip"), Home(Region.ASIA, "rtt")


class _Client:
    """What a keeper takes from outside, to be changed by the test."""

    def __init__(self, folder: Path) -> None:
        self.now = float(EPOCH)
        self.path = folder / "home.json"
        self.tracker = FakeTracker(Keys(), lambda: self.now)
        self.rtts_ms: dict[Region, tuple[float, ...]] = {}
        self.home = self.run()

    def run(self, told: Region | None = None) -> HomeKeeper:
        """Return the keeper of another run."""
        return HomeKeeper(told, self.tracker, self.path, rtts_ms=lambda: self.rtts_ms, clock=lambda: self.now)

    async def refreshed(self) -> Home:
        """Return what is known once a refresh is through."""
        self.home.refresh()
        return await self.home.settled()


@pytest.fixture
def client(tmp_path: Path) -> _Client:
    """One that knows nothing."""
    return _Client(tmp_path)


async def test_a_region_that_is_set_is_asked_for_nowhere(client: _Client) -> None:
    """Neither the tracker's word nor measurements change it, and nothing is kept."""
    client.tracker.places, client.rtts_ms = IN_EUROPE, {Region.ASIA: NEAR}
    client.home = client.run(Region.AFRICA)
    assert await client.refreshed() == Home(Region.AFRICA, "setting")
    client.home.learn(IN_EUROPE)
    client.home.judge()
    assert client.home.current() == Home(Region.AFRICA, "setting")
    assert client.tracker.asked_regions == 0
    assert not client.path.exists()


async def test_the_address_comes_before_measurements(client: _Client) -> None:
    """Also when they were first."""
    client.rtts_ms = {Region.ASIA: NEAR}
    assert client.home.current() == BY_ROUND_TRIPS
    client.tracker.places = IN_EUROPE
    client.home.learn(await client.tracker.regions())
    assert client.home.current() == BY_ADDRESS
    client.now += JUDGE_INTERVAL_S
    assert client.home.current() == BY_ADDRESS


async def test_nobody_waits_for_the_answer(client: _Client) -> None:
    """It is asked for in the background, once at a time."""
    client.tracker.places = IN_EUROPE
    client.home.refresh()
    client.home.refresh()
    assert client.home.current() == NOWHERE
    assert await client.home.settled() == BY_ADDRESS
    assert client.tracker.asked_regions == 1


async def test_the_next_run_knows_it_at_once(client: _Client) -> None:
    """And does not ask again for an hour."""
    client.tracker.places = IN_EUROPE
    await client.refreshed()
    client.home = client.run()
    assert client.home.current() == BY_ADDRESS
    await client.refreshed()
    assert client.tracker.asked_regions == 1
    client.now += ASK_INTERVAL_S
    client.tracker.places = regions_reply(CallerPlace(region=Region.AMERICA))
    client.home.refresh()
    await asyncio.sleep(0)
    assert client.home.current() == Home(Region.AMERICA, "geoip")


async def test_a_tracker_that_does_not_tell_leaves_what_was_known(
    client: _Client, caplog: pytest.LogCaptureFixture
) -> None:
    """It is down, or older than the question; users are not warned, and it is asked again after minutes."""
    client.tracker.down = True
    with caplog.at_level(logging.WARNING):
        assert await client.refreshed() == NOWHERE
    assert not caplog.records
    client.tracker.down, client.tracker.places = False, IN_EUROPE
    client.now += RETRY_INTERVAL_S - 1
    assert await client.refreshed() == NOWHERE
    client.now += 1
    assert await client.refreshed() == BY_ADDRESS


@pytest.mark.parametrize("reply", [regions_reply(), regions_reply(CallerPlace(country="AQ"))])
async def test_measurements_tell_what_the_address_does_not(client: _Client, reply: RegionsReply) -> None:
    """There is no database, or the address is outside of all regions. An earlier answer is void then."""
    client.home.learn(IN_EUROPE)
    client.home.learn(reply)
    assert client.home.current() == NOWHERE
    client.rtts_ms = {Region.ASIA: NEAR, Region.EUROPE: FAR}
    assert client.home.current() == NOWHERE
    client.now += JUDGE_INTERVAL_S
    assert client.home.current() == client.run().current() == BY_ROUND_TRIPS


async def test_a_measured_region_does_not_confirm_itself_for_ever(client: _Client) -> None:
    """After a day it is forgotten for as long as a wider search takes to show, whatever its own nodes measure."""
    client.rtts_ms = {Region.ASIA: NEAR}
    assert client.home.current() == BY_ROUND_TRIPS
    client.now += MEASURED_KEPT_S - 1
    assert client.home.current() == BY_ROUND_TRIPS
    client.now += 1
    assert client.home.current() == NOWHERE
    client.rtts_ms[Region.OCEANIA] = (7.0, 8.0, 9.0)  # within the jitter: the present one would have stayed
    client.now += JUDGE_INTERVAL_S - 1
    assert client.home.current() == NOWHERE
    client.now += 1
    assert client.home.current() == Home(Region.OCEANIA, "rtt")


async def test_what_was_just_forgotten_is_not_told_by_the_same_measurements(client: _Client) -> None:
    """The tracker is asked every hour, so also when the day is over: other regions have their minute all the same."""
    client.rtts_ms = {Region.ASIA: NEAR}
    assert client.home.current() == BY_ROUND_TRIPS
    client.now += MEASURED_KEPT_S
    assert client.home.current() == NOWHERE
    client.home.learn(regions_reply())
    assert client.home.current() == NOWHERE
    client.now += JUDGE_INTERVAL_S
    assert client.home.current() == BY_ROUND_TRIPS


@virtual_time
async def test_who_cannot_go_on_waits_some_seconds_only(tmp_path: Path) -> None:
    """The answer that comes later is taken all the same; closing does not wait for it."""
    client = _Client(tmp_path)
    answered = asyncio.Event()

    async def regions() -> RegionsReply:
        await answered.wait()
        return IN_EUROPE

    client.tracker.regions = regions  # type: ignore[method-assign]  # -- it takes its time
    assert await client.refreshed() == NOWHERE
    answered.set()
    assert await client.home.settled() == BY_ADDRESS
    answered.clear()
    client.now += ASK_INTERVAL_S
    client.home.refresh()
    await client.home.close()
    assert client.home.current() == BY_ADDRESS


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"region": "mars", "from": "rtt", "learned_at": 1, "asked_at": 1}',
        '{"region": "asia", "from": "dream", "learned_at": 1, "asked_at": 1}',
        '{"region": "asia", "from": "geoip", "learned_at": null, "asked_at": 1}',
        f'{{"region": "asia", "from": "geoip", "learned_at": 1{400 * "0"}, "asked_at": 1}}',
    ],
)
def test_a_damaged_file_counts_as_absent(client: _Client, content: str) -> None:
    """The region is found out again."""
    client.path.write_text(content, encoding="utf-8")
    assert client.run().current() == NOWHERE


def test_a_folder_that_cannot_be_written_is_no_failure(client: _Client, caplog: pytest.LogCaptureFixture) -> None:
    """This run knows the region all the same."""
    client.path.mkdir()
    with caplog.at_level(logging.WARNING):
        client.home.learn(IN_EUROPE)
    assert client.home.current() == BY_ADDRESS
    assert "cannot be kept" in caplog.text
