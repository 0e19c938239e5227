"""When and where adverts are announced."""

import asyncio

import pytest
from gpunode_node.announcer import CHANGE_INTERVAL_S, Announcer
from gpunode_protocol.adverts import Advert, Gpu, Load, ModelAdvert, Speed, unpack_advert
from gpunode_protocol.mesh import DhtRecord, MeshUnavailable
from gpunode_protocol.regions import Region
from gpunode_protocol.signing import Signed, sign
from gpunode_protocol.tasks import Task

from tests.node.fake_tracker import certificate
from tests.node.virtual_time import virtual_time
from tests.node.world import EPOCH, NETWORK, NODE


class _World:
    """Builds adverts and keeps announcements with their times."""

    def __init__(self) -> None:
        self.address = "/ip4/11.0.0.1/tcp/1"
        self.active = 0
        self.sequence = 0
        self.certified = True
        self.broken = False
        self.kept_by = 4
        self.alone_s = 0.0
        self.announced: list[tuple[float, DhtRecord]] = []
        self.announcer = Announcer(self.announce, self.build, lambda: (0, 1), self.wait_for_peers)

    async def wait_for_peers(self, timeout_s: float) -> None:
        await asyncio.sleep(min(self.alone_s, timeout_s))

    async def announce(self, record: DhtRecord) -> int:
        if self.broken:
            raise MeshUnavailable
        self.announced.append((asyncio.get_running_loop().time() - 1_000, record))
        return self.kept_by

    async def build(self, tombstone: bool) -> list[Signed[Advert]]:
        if not self.certified:
            return []
        self.sequence += 1
        model = ModelAdvert(
            name="fake",
            task=Task.LLM,
            fingerprint=bytes(32),
            speed=Speed(input_milliunits_per_s=1, output_milliunits_per_s=1),
            context=1,
            slots=1,
        )
        return [
            sign(
                NODE,
                Advert(
                    network=NETWORK,
                    peer=NODE.peer_id,
                    certificate=certificate(),
                    sequence=self.sequence,
                    region=Region.ASIA,
                    gpu=Gpu(model="", count=0, memory_mb=0),
                    model=model,
                    load=Load(active=self.active),
                    addresses=(self.address,),
                    expires_at=EPOCH + 150,
                    tombstone=tombstone,
                ),
            )
        ]

    @property
    def times(self) -> list[float]:
        return sorted({at for at, _ in self.announced})


async def _run(world: _World, seconds: float) -> None:
    running = asyncio.create_task(world.announcer.run())
    await asyncio.sleep(seconds)
    running.cancel()


@virtual_time
async def test_every_minute_under_all_keys() -> None:
    """Three topics, two salts, and both shards while the bit count changes."""
    world = _World()
    await _run(world, 125)
    assert world.times == [0, 60, 120]
    keys = [record.key for at, record in world.announced if at == 0]
    assert len(keys) == len(set(keys)) == 12
    assert world.announcer.stored == 48
    assert len(world.announcer.adverts) == 1


@virtual_time
async def test_a_change_is_announced_soon() -> None:
    """At most one announcement in 20 s, and the next one is a minute after it."""
    world = _World()
    asyncio.get_running_loop().call_later(5, setattr, world, "address", "/ip4/11.0.0.2/tcp/1")
    asyncio.get_running_loop().call_later(15, setattr, world, "address", "/ip4/11.0.0.3/tcp/1")
    await _run(world, 95)
    assert world.times == [0, CHANGE_INTERVAL_S, CHANGE_INTERVAL_S + 60]


@virtual_time
async def test_adverts_that_nobody_keeps() -> None:
    """The node looks healthy to its owner, and no client finds it."""
    world = _World()
    world.kept_by = 0
    await _run(world, 1)
    assert "Nobody keeps" in world.announcer.problem
    world.kept_by = 1
    await _run(world, 61)
    assert (world.announcer.problem, world.announcer.stored) == ("", 12)


@virtual_time
async def test_renewing() -> None:
    """What others have lost is announced again at the next occasion."""
    world = _World()
    asyncio.get_running_loop().call_later(5, world.announcer.renew)
    await _run(world, 59)
    assert world.times == [0, CHANGE_INTERVAL_S]


@virtual_time
async def test_load_alone_never_triggers() -> None:
    """A busy node announces no more often than an idle one."""
    world = _World()
    for at in range(1, 59, 3):
        asyncio.get_running_loop().call_later(at, setattr, world, "active", at)
    await _run(world, 59)
    assert world.times == [0]


@virtual_time
async def test_a_mesh_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """A failed announcement is told, and repeated in its turn."""
    world = _World()
    await world.announcer.announce_when_due()
    world.broken = True
    await asyncio.sleep(60)
    await world.announcer.announce_when_due()
    assert "not running" in world.announcer.problem
    assert "announcement failed" in caplog.text
    world.broken = False
    await asyncio.sleep(60)
    assert await world.announcer.announce_when_due() is True
    assert world.announcer.problem == ""


@virtual_time
async def test_a_node_without_certificate_announces_nothing() -> None:
    """It announces as soon as it has one."""
    world = _World()
    world.certified = False
    asyncio.get_running_loop().call_later(30, setattr, world, "certified", True)
    await _run(world, 50)
    assert world.times == [40]


@virtual_time
async def test_withdrawing() -> None:
    """Tombstones go under the same keys."""
    world = _World()
    await world.announcer.announce_when_due()
    before = {record.key for _, record in world.announced}
    world.announced.clear()
    await world.announcer.take_back()
    await world.announcer.withdraw()
    assert {record.key for _, record in world.announced} == before


@virtual_time
async def test_withdrawing_right_after_the_death_of_p2pd() -> None:
    """Nobody is known for a moment; what was stored nowhere would leave the adverts behind."""
    world = _World()
    world.alone_s = 3
    await world.announcer.take_back()
    await world.announcer.withdraw()
    assert world.times == [3]
    assert all(unpack_advert(record.value).body.tombstone for _, record in world.announced)


@virtual_time
async def test_withdrawing_takes_a_few_seconds_at_most() -> None:
    """A mesh that hangs does not hold up the end."""
    world = _World()

    async def hang(_: DhtRecord) -> int:
        await asyncio.sleep(1_000)
        return 0

    announcer = Announcer(hang, world.build, lambda: (0,), world.wait_for_peers)
    started_at = asyncio.get_running_loop().time()
    await announcer.take_back()
    await announcer.withdraw()
    assert asyncio.get_running_loop().time() - started_at == 5
    assert announcer.problem


@virtual_time
async def test_a_bug_is_not_swallowed() -> None:
    """What is no failure of the mesh ends the task."""
    world = _World()

    async def broken(_: DhtRecord) -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Announcer(broken, world.build, lambda: (0,), world.wait_for_peers).announce_when_due()


@virtual_time
async def test_a_paused_node_announces_nothing() -> None:
    """Its tombstones are the last word until it comes back, and then it announces at once."""
    world = _World()
    await world.announcer.announce_when_due()
    world.announcer.silent = True
    await world.announcer.take_back()
    await world.announcer.withdraw()
    count = len(world.announced)
    assert not await world.announcer.announce_when_due()
    assert len(world.announced) == count
    world.announcer.silent = False
    world.announcer.renew()
    assert await world.announcer.announce_when_due()
    assert len(world.announced) > count
