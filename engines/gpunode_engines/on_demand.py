"""An engine that is loaded when a job needs it, and leaves memory when another model does or when it was idle."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from gpunode_engines.base import EngineInfo, Event, MeasuredSpeed, PreparableRequest, PreparedPrompt, WorkRequest
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.errors import EngineError, EngineLost, EngineNotReady, EngineStartFailed, MemoryLimit
from gpunode_engines.media import ImageRequest, SpeechRequest
from gpunode_engines.media_checks import check_media
from gpunode_engines.memory_plan import Need, Resident
from gpunode_engines.out_of_memory import kernel_memory_kills
from gpunode_engines.plan_lowering import LoweringPlan
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

logger = logging.getLogger(__name__)

LEAST_WAIT_S: Final = 0.1
"""What is said to be left of a load that takes longer than it took before, seconds."""


@dataclass(eq=False)
class _Load:
    """One load under way or done. waiting: those who wait for it, and are served before the model may leave again."""

    task: asyncio.Task[None]
    waiting: int = 0


T = TypeVar("T")

State = Literal["unloaded", "loading", "loaded", "leaving"]


class OnDemandEngine:
    """Implements ``Engine`` around one ``SupervisedEngine`` at a time.

    Args:
        plan: how the model is loaded; lowered when memory runs out.
        pool: where it lives.
        create: makes the engine of a plan, not started.
        memory_kills: see ``kernel_memory_kills``.
    """

    def __init__(
        self,
        plan: EnginePlan,
        pool: EnginePool,
        create: Callable[[EnginePlan], SupervisedEngine],
        memory_kills: Callable[[], int | None] = kernel_memory_kills,
    ) -> None:
        self.on_change: Callable[[], None] = lambda: None  #: called when ``wait_s`` or ``info.slots`` may differ
        self._pool = pool
        self._create = create
        self._plan = LoweringPlan(plan, memory_kills)
        self._clock = asyncio.get_running_loop().time
        self._engine: SupervisedEngine | None = None
        self._info: EngineInfo | None = None
        self._load: _Load | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._unloading: asyncio.Task[None] | None = None
        self._unused = asyncio.Event()
        self._uses = 0
        self._leaving = self._stopped = self._failed = False
        self._used_at = self._load_began_at = self._load_s = 0.0
        self._earlier_restarts = self._earlier_denials = 0
        pool.add(self)

    # What it says of itself

    @property
    def plan(self) -> EnginePlan:
        """How the model is loaded the next time."""
        return self._plan.plan

    @property
    def name(self) -> str:
        """See ``Tenant``."""
        return self.plan.model

    @property
    def info(self) -> EngineInfo:
        """See ``Engine``: of the last time that it was loaded."""
        if self._info is None:
            raise EngineNotReady
        return self._info

    @property
    def state(self) -> State:
        """Whether the model is in memory."""
        if self._engine is not None:
            return "leaving" if self._leaving else "loaded"
        return "loading" if self._is_loading else "unloaded"

    @property
    def load_s(self) -> float:
        """How long the last load took, seconds."""
        return self._load_s

    @property
    def healthy(self) -> bool:
        """See ``Engine``; a model that is not in memory is not."""
        return self._engine is not None and self._engine.healthy and not self._leaving

    @property
    def restarts(self) -> int:
        """See ``Engine``."""
        return self._earlier_restarts + (self._engine.restarts if self._engine else 0)

    @property
    def last_loss(self) -> EngineLost | None:
        """See ``Engine``; since it was loaded."""
        return None if self._engine is None else self._engine.last_loss

    @property
    def denials(self) -> int:
        """See ``Engine``."""
        return self._earlier_denials + (self._engine.denials if self._engine else 0)

    @property
    def active_jobs(self) -> int:
        """See ``Engine``."""
        return self._engine.active_jobs if self._engine else 0

    @property
    def pid(self) -> int | None:
        """Process id of the child, None while there is none."""
        return self._engine.pid if self._engine else None

    def wait_s(self) -> float:
        """Return how long it takes until a job can start here, in seconds, as the last load took; 0 = now."""
        if not self._pool.open:
            return max(LEAST_WAIT_S, self._load_s)
        if self.state == "loaded" or (self._failed and not self._is_loading):  # a job then meets the error itself
            return 0.0
        elapsed_s = self._clock() - self._load_began_at if self.state == "loading" and self._load_began_at else 0.0
        return max(LEAST_WAIT_S, self._load_s - elapsed_s)

    def hasten(self) -> None:
        """Begin to load, if that is what a job has to wait for."""
        if self._pool.open and self.state == "unloaded" and not self._stopped:
            self._begin_loading()

    # Engine

    async def start(self) -> EngineInfo:
        """See ``Engine``."""
        return await self._with_less_and_less(self._started)

    async def stop(self) -> None:
        """See ``Engine``."""
        self._stopped = True
        loading = self._load.task if self._load is not None else None
        tasks = [task for task in (loading, self._unloading) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._unload()

    async def wait_healthy(self) -> None:
        """See ``Engine``."""
        async with self._in_use() as engine:
            await engine.wait_healthy()

    async def prepare(self, request: PreparableRequest) -> PreparedPrompt:
        """See ``Engine``. Pictures and speech need no count: what the model alone can check then waits for its job."""
        if isinstance(request, ImageRequest | SpeechRequest) and self.state != "loaded" and not self._failed:
            check_media(request)
            self.hasten()
            return PreparedPrompt(token_ids=(), rendered=b"")
        async with self._watched() as engine:
            return await engine.prepare(request)

    async def generate(self, request: WorkRequest) -> AsyncGenerator[Event, None]:
        """See ``Engine``."""
        async with self._watched() as engine, contextlib.aclosing(engine.generate(request)) as events:
            async for event in events:
                yield event

    async def cancel(self, job_key: str) -> None:
        """See ``Engine``."""
        if self._engine is not None:
            await self._engine.cancel(job_key)

    async def measure_speed(self) -> MeasuredSpeed:
        """See ``Engine``."""
        return await self._with_less_and_less(self._measured)

    # Tenant

    def resident(self) -> Resident | None:
        """See ``Tenant``."""
        if self._engine is None:
            return None
        return Resident(name=self.name, need=Need.of(self.plan), used_at=self._used_at, busy=self._is_used)

    async def leave(self) -> None:
        """See ``Tenant``."""
        if self._engine is None:
            return
        self._leaving = True
        self.on_change()
        try:
            while self._is_used:
                self._unused.clear()
                await self._unused.wait()
            await self._unload()
        finally:
            self._leaving = False
            self.on_change()

    def turned(self) -> None:
        """See ``Tenant``."""
        self.on_change()

    # Loading and unloading

    @property
    def _is_loading(self) -> bool:
        return self._load is not None and not self._load.task.done()

    @property
    def _is_used(self) -> bool:
        return self._uses > 0 or (self._load is not None and self._load.waiting > 0 and self._load.task.done())

    @contextlib.asynccontextmanager
    async def _in_use(self) -> AsyncIterator[SupervisedEngine]:
        """Load if needed, and keep loaded meanwhile."""
        engine = None if self._leaving else self._engine
        while engine is None:
            if self._stopped:
                raise EngineNotReady
            await self._wait_for(self._begin_loading())
            engine = self._engine  # also if it is to leave again: who waited is served first
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        self._uses += 1
        self._unused.clear()
        try:
            yield engine
        finally:
            self._uses -= 1
            self._used_at = self._clock()
            if not self._uses:
                self._unused.set()
                self._watch_idleness()

    async def _wait_for(self, load: _Load) -> None:
        load.waiting += 1
        try:
            await asyncio.shield(load.task)
        finally:
            load.waiting -= 1
            self._unused.set()

    def _watch_idleness(self) -> None:
        if (idle_s := self._pool.idle_unload_s) and not self._stopped:
            self._idle_timer = asyncio.get_running_loop().call_later(idle_s, self._unload_idle)

    def _unload_idle(self) -> None:
        if not self._uses and self._engine is not None and not self._leaving:
            logger.info("%s was idle and is unloaded", self.name, extra={"event": "model_idle", "model": self.name})
            self._unloading = asyncio.create_task(self._pool.dismiss(self))

    def _begin_loading(self) -> _Load:
        if self._load is None or self._load.task.done():
            self._load_began_at = 0.0
            self._load = _Load(asyncio.create_task(self._load_in_turn()))
            self._load.task.add_done_callback(self._loading_over)
        return self._load

    def _loading_over(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        self._failed = error is not None
        if error is not None:
            logger.warning("%s was not loaded: %s", self.name, error, extra={"event": "model_not_loaded"})
        self.on_change()

    async def _load_in_turn(self) -> None:
        async with self._pool.room_for(self, Need.of(self.plan)):
            if self._engine is not None and not self._leaving:
                return
            await self.leave()
            self._load_began_at = self._clock()
            self._plan.load_begins()
            engine = self._create(self.plan)
            try:
                self._info = await engine.start()
            except EngineStartFailed as error:
                if self._plan.is_to_blame(error):
                    raise EngineStartFailed(f"{error} {self._lower_plan()}") from error
                raise
            self._engine, self._load_s = engine, self._clock() - self._load_began_at
            self._used_at = self._clock()
            self._watch_idleness()
        logger.info(
            "%s was loaded in %.1f s",
            self.name,
            self._load_s,
            extra={"event": "model_loaded", "model": self.name, "load_s": round(self._load_s, 3)},
        )

    async def _unload(self) -> None:
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        engine = self._engine
        if engine is None:
            return
        await engine.stop()
        self._engine = None
        self._earlier_restarts += engine.restarts
        self._earlier_denials += engine.denials

    # Running out of memory

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[SupervisedEngine]:
        """Use the engine, and lower the plan where memory runs out. Raises MemoryLimit then, with what is done."""
        async with self._in_use() as engine:
            try:
                yield engine
            except EngineError as error:
                if not self._plan.is_to_blame(error):
                    raise
                raise MemoryLimit(f"{error} {self._lower(engine)}") from error

    async def _with_less_and_less(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Do what no job waits for as often as the plan can be lowered: a node that starts has nobody to fail yet."""
        while True:
            plan = self.plan
            try:
                return await attempt()
            except (EngineStartFailed, MemoryLimit):
                if self.plan is plan:
                    raise

    async def _started(self) -> EngineInfo:
        async with self._in_use():
            return self.info

    async def _measured(self) -> MeasuredSpeed:
        async with self._watched() as engine:
            return await engine.measure_speed()

    def _lower(self, engine: SupervisedEngine) -> str:
        """Lower the plan and load the model anew, once for all jobs that failed together; return what is done."""
        if engine is not self._engine or self._leaving:
            return "The model is loaded anew with less."
        told = self._lower_plan()
        self._earlier_restarts += 1
        self._leaving = True  # at once: no other job may meet the engine as it was
        self._begin_loading()
        return told

    def _lower_plan(self) -> str:
        return self._plan.lower(self._info.saving if self._info is not None else 0)
