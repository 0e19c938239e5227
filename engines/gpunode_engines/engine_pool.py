"""The memory that all engines of a node share: who is in it, who leaves it for another, and who was idle too long."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from gpunode_engines.memory_plan import Capacity, Need, Resident, leaving_for


class Tenant(Protocol):
    """A model that is loaded and unloaded as needed."""

    @property
    def name(self) -> str:
        """Unique within the pool."""
        ...

    def resident(self) -> Resident | None:
        """Return its state while it is loaded, None while it is not."""
        ...

    async def leave(self) -> None:
        """Take no more jobs, finish those that run, and unload. Nothing happens when it is not loaded."""
        ...

    def hasten(self) -> None:
        """Begin to load, if it is not loaded and the pool is open."""
        ...

    def turned(self) -> None:
        """Told after whatever decides over ``open`` has changed."""
        ...


class EnginePool:
    """Belongs to one event loop.

    Args:
        capacity: of all tenants together.
        idle_unload_s: a model that had no job for so long is unloaded, seconds; 0 = it stays until another needs room.
    """

    def __init__(self, capacity: Capacity, idle_unload_s: float = 0.0) -> None:
        self.idle_unload_s = idle_unload_s
        self._capacity = capacity
        self._tenants: dict[str, Tenant] = {}
        self._moving = asyncio.Lock()  # first come, first served: a busy model cannot keep another one out for ever
        self._closed: set[str] = set()

    @property
    def open(self) -> bool:
        """Whether jobs may start: nobody holds the pool closed."""
        return not self._closed

    def add(self, tenant: Tenant) -> None:
        """Let a model live here, not loaded yet."""
        self._tenants[tenant.name] = tenant

    @contextlib.asynccontextmanager
    async def room_for(self, tenant: Tenant, need: Need) -> AsyncIterator[None]:
        """Unload what must leave for a tenant; it loads inside, one model at a time."""
        async with self._moving:
            residents = [state for other in self._others(tenant) if (state := other.resident()) is not None]
            for name in leaving_for(need, residents, self._capacity):
                await self._tenants[name].leave()
            yield

    async def dismiss(self, tenant: Tenant) -> None:
        """Unload one model that nobody uses; one that is in use by the time that its turn comes stays."""
        async with self._moving:
            state = tenant.resident()
            if state is not None and not state.busy:
                await tenant.leave()

    def close(self, reason: str) -> None:
        """Let no job start until ``reopen`` with the same reason."""
        self._change(lambda: self._closed.add(reason))

    def reopen(self, reason: str) -> None:
        """Take a reason back; jobs start when none is left."""
        self._change(lambda: self._closed.discard(reason))

    def loaded(self) -> tuple[str, ...]:
        """Return the names of the models that are in memory."""
        return tuple(name for name, tenant in self._tenants.items() if tenant.resident() is not None)

    def recall(self, names: Iterable[str]) -> None:
        """Begin to load models again that were in memory before."""
        for name in names:
            self._tenants[name].hasten()

    async def unload_all(self) -> None:
        """Give all memory back, once the jobs that run are done."""
        async with self._moving:
            await asyncio.gather(*(tenant.leave() for tenant in self._tenants.values()))

    def _others(self, tenant: Tenant) -> list[Tenant]:
        return [other for other in self._tenants.values() if other is not tenant]

    def _change(self, change: Callable[[], None]) -> None:
        before = self.open
        change()
        if self.open != before:
            for tenant in self._tenants.values():
                tenant.turned()
