import asyncio
import logging
from typing import NoReturn

import pytest
from gpunode._network import NetworkKeeper
from gpunode._state import TrackerState
from gpunode.errors import ClockOff, InvalidSettings, TrackerError, TrackerUnreachable, WrongNetwork
from gpunode_protocol.identity import Identity
from gpunode_protocol.tracker_api import NetworkInfo

from tests.node.virtual_time import virtual_time
from tests.sdk.world import EPOCH, Keys, World


def _keeper(world: World, network_id: str | None = None) -> NetworkKeeper:
    return NetworkKeeper(
        world.tracker, _state(world), network_id=network_id, clock=world.clock, monotonic=lambda: world.elapsed_s
    )


def _state(world: World) -> TrackerState:
    return TrackerState(world.folder / "tracker", world.tracker.url)


async def test_the_root_key_is_pinned_at_first_contact(world: World) -> None:
    """From then on, another one is refused with a way out."""
    assert (await _keeper(world).fetch()).id == world.keys.network
    assert _state(world).pinned_root() == world.keys.root.public_key
    world.tracker.info = Keys(root=Identity.from_seed(b"\x66" * 32)).network_info()
    with pytest.raises(WrongNetwork, match=r"pin\.json"):
        await _keeper(world).fetch()


async def test_a_named_network_is_demanded_even_at_first_contact(world: World) -> None:
    """``network_id`` pins beforehand."""
    with pytest.raises(WrongNetwork, match="as the settings say"):
        await _keeper(world, network_id="0" * 40).fetch()
    assert _state(world).pinned_root() is None
    assert await _keeper(world, network_id=world.keys.network).fetch()


async def test_the_last_word_serves_while_the_tracker_is_down(world: World) -> None:
    """At first contact there is none."""
    world.tracker.down = True
    with pytest.raises(TrackerUnreachable):
        await _keeper(world).fetch()
    world.tracker.down = False
    await _keeper(world).fetch()
    world.tracker.down = True
    keeper = _keeper(world)
    assert (await keeper.fetch()).id == world.keys.network
    assert not keeper.is_stale


async def test_an_older_key_set_or_revocation_list_changes_nothing(world: World) -> None:
    """A replayed answer cannot take a revocation back."""
    keeper = _keeper(world)
    newer = world.keys.network_info(
        keyset=world.keys.keyset_of(5).envelope, revocations=world.keys.revocations("bad", sequence=5).envelope
    )
    world.tracker.info = newer
    await keeper.fetch()
    world.tracker.info = None
    network = await keeper.fetch()
    assert network.revocations.certificates == ("bad",)
    assert network.trust.keyset.body.sequence == 5


async def test_what_does_not_verify_is_refused(world: World) -> None:
    """A network id that is not the root key's."""
    world.tracker.info = world.keys.network_info(network="1" * 40)
    with pytest.raises(TrackerError, match="does not follow"):
        await _keeper(world).fetch()


async def test_damaged_files(world: World) -> None:
    """A damaged cache counts as absent; a damaged pin is never guessed."""
    await _keeper(world).fetch()
    _state(world).network_path.write_text('"{}"', encoding="utf-8")
    assert _keeper(world).current() is None
    _state(world).pin_path.write_text("{}", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="damaged"):
        _keeper(world).current()


async def test_a_wrong_clock_is_worth_a_warning(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Everything works with it still; beyond a minute it would not."""
    world.now = EPOCH + 45
    keeper = _keeper(world)
    with caplog.at_level(logging.WARNING):
        await keeper.fetch()
    await keeper.require_right_clock()
    assert "44 s ahead of the tracker's" in caplog.text
    assert "NTP" in caplog.text


@pytest.mark.parametrize(("offset_s", "words"), [(121, "120 s ahead of"), (-120, "120 s behind")])
async def test_a_clock_with_which_nothing_works_is_refused(world: World, offset_s: int, words: str) -> None:
    """The error says by how much it is off and what to do; once the clock is set, all is well."""
    world.now = EPOCH + offset_s
    keeper = _keeper(world)
    await keeper.fetch()
    with pytest.raises(ClockOff, match=rf"{words} .* beyond 60 s.* NTP"):
        await keeper.require_right_clock()
    world.now = EPOCH
    await keeper.require_right_clock()


async def test_a_slow_answer_tells_no_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute of waiting for the tracker, this clock is not therefore wrong."""
    asked = world.tracker.network

    async def slow() -> NetworkInfo:
        info = await asked()
        world.now += 130
        return info

    monkeypatch.setattr(world.tracker, "network", slow)
    keeper = _keeper(world)
    await keeper.fetch()
    await keeper.require_right_clock()


async def test_after_five_minutes_it_is_time_to_ask_again(world: World) -> None:
    """Shard bits and revocations change."""
    keeper = _keeper(world)
    await keeper.fetch()
    world.elapsed_s += 300
    assert not keeper.is_stale
    world.elapsed_s += 1
    assert keeper.is_stale


@pytest.mark.parametrize(("jump_s", "words"), [(3600, "3600 s ahead of"), (-3600, "3600 s behind")])
async def test_a_clock_that_jumps_is_compared_at_once(world: World, jump_s: int, words: str) -> None:
    """Not minutes later, or, after a jump back, as much later as it went back; a silent tracker is not waited for."""
    keeper = _keeper(world)
    await keeper.fetch()
    world.now += jump_s
    with pytest.raises(ClockOff, match=words):
        await keeper.require_right_clock()


@virtual_time
async def test_a_silent_tracker_is_asked_once_about_a_clock_that_jumped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A computer that slept looks the same, and may be without a network yet."""
    keeper = _keeper(world)
    await keeper.fetch()
    asked = 0

    async def say_nothing() -> NoReturn:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(world.tracker, "network", say_nothing)
    world.now += 3600
    for _ in range(2):
        await keeper.require_right_clock()
    assert asked == 1
