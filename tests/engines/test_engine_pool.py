"""Tenants that share memory."""

import asyncio
from dataclasses import dataclass, field

from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.memory_plan import Capacity, Need, Resident

NEED = Need(memory_bytes=6, on_card=False)


@dataclass
class _Tenant:
    """A tenant whose jobs a test ends. told: the pool's state each time that it changed."""

    name: str
    pool: EnginePool
    loaded: bool = False
    unused: asyncio.Event = field(default_factory=asyncio.Event)
    told: list[bool] = field(default_factory=list)
    asked: int = 0

    def resident(self) -> Resident | None:
        return Resident(name=self.name, need=NEED, used_at=0, busy=not self.unused.is_set()) if self.loaded else None

    async def leave(self) -> None:
        await self.unused.wait()
        self.loaded = False

    def hasten(self) -> None:
        self.asked += 1

    def turned(self) -> None:
        self.told.append(self.pool.open)

    async def load(self) -> None:
        async with self.pool.room_for(self, NEED):
            self.loaded = True


def _pool_of(*names: str) -> tuple[EnginePool, list[_Tenant]]:
    pool = EnginePool(Capacity(main_bytes=10, card_bytes=0))
    tenants = [_Tenant(name, pool) for name in names]
    for tenant in tenants:
        pool.add(tenant)
    return pool, tenants


async def test_one_leaves_when_it_is_done_so_that_the_other_fits() -> None:
    """The newcomer waits for the last job, and whoever asks next waits behind it."""
    pool, (first, second) = _pool_of("first", "second")
    await first.load()
    loading = asyncio.create_task(second.load())
    await asyncio.sleep(0)
    again = asyncio.create_task(first.load())
    await asyncio.sleep(0)
    assert pool.loaded() == ("first",)
    second.unused.set()
    first.unused.set()
    await asyncio.gather(loading, again)
    assert pool.loaded() == ("first",)


async def test_all_memory_is_given_back() -> None:
    """After the jobs that run."""
    pool, tenants = _pool_of("only")
    await tenants[0].load()
    unloading = asyncio.create_task(pool.unload_all())
    await asyncio.sleep(0)
    assert pool.loaded() == ("only",)
    tenants[0].unused.set()
    await unloading
    assert pool.loaded() == ()


async def test_models_are_called_back_by_name() -> None:
    """Only those that are named begin to load."""
    pool, (first, second) = _pool_of("first", "second")
    pool.recall(["second"])
    assert (first.asked, second.asked) == (0, 1)


async def test_a_busy_tenant_is_not_dismissed() -> None:
    """A job that came in the meantime keeps the model."""
    pool, (tenant,) = _pool_of("only")
    await tenant.load()
    await pool.dismiss(tenant)
    assert pool.loaded() == ("only",)
    tenant.unused.set()
    await pool.dismiss(tenant)
    assert pool.loaded() == ()


async def test_the_pool_is_open_while_nobody_holds_it_closed() -> None:
    """Tenants are told when it turns, not for each reason."""
    pool, (tenant,) = _pool_of("only")
    pool.close("paused")
    pool.close("power")
    pool.reopen("paused")
    assert not pool.open
    pool.reopen("power")
    assert pool.open
    assert tenant.told == [False, True]
