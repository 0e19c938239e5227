"""Looks after the machine's owner: the schedule, other programs on the cards, and their power."""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Final, TypeVar

import psutil  # type: ignore[import-untyped]  # -- ships no annotations
from gpunode_engines.engine_pool import EnginePool
from gpunode_engines.gpu_readings import GpuMeter, GpuReading

from gpunode_node.config import NodeSettings
from gpunode_node.gpu_rules import BusyRule, PowerRule, use_by_others
from gpunode_node.pause import Pause
from gpunode_node.schedule import Schedule
from gpunode_node.served_model import ServedModel

logger = logging.getLogger(__name__)

T = TypeVar("T")

LOOK_INTERVAL_S: Final = 2.0
_POWER: Final = "power"


class HostCare:
    """``look`` once before the node serves, then ``run`` as one task, ``close`` at the end.

    Args:
        settings: the owner's rules.
        meter: of the cards.
        pause: told the reasons.
        pool: held closed between jobs while the cards draw too much.
        models: whose jobs count as the node's own work.
        local_time: this computer's.
    """

    def __init__(
        self,
        settings: NodeSettings,
        meter: GpuMeter,
        pause: Pause,
        pool: EnginePool,
        models: list[ServedModel],
        local_time: Callable[[], datetime],
    ) -> None:
        self._schedule = Schedule.parse(settings.schedule)
        self._busy = BusyRule(settings.busy_percent) if settings.pause_when_busy else None
        self._max_watts = settings.max_power_watts
        self._power: PowerRule | None = None
        self._meter = meter
        self._pause = pause
        self._pool = pool
        self._models = models
        self._local_time = local_time
        self._thread = ThreadPoolExecutor(1, "gpu-meter")  # NVML is asked by one thread, one question after the other
        self.readings: tuple[GpuReading, ...] = ()  #: of the last look, empty while no rule needs them
        self.power = ""  #: how the power is limited
        self.problems: tuple[str, ...] = ()  #: rules that cannot be kept

    async def start(self) -> None:
        """Limit the power, and look for the first time."""
        if self._max_watts:
            await self._limit_power()
        await self.look()
        if (self._busy or self._power) and not self.readings:
            self.problems = (
                "--pause-when-busy and --max-power do nothing here: no NVIDIA card answers. `gpunode doctor` says why.",
            )
            logger.warning("%s", self.problems[0], extra={"event": "no_card_to_watch"})

    async def run(self) -> None:
        """Look every two seconds, for ever."""
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            await self.look()

    async def look(self) -> None:
        """Apply every rule to what is seen now."""
        self._pause.set_reason("schedule", self._schedule.reason(self._local_time()))
        if self._busy is None and self._power is None:
            return
        self.readings = await self._in_thread(self._meter.read)
        now = asyncio.get_running_loop().time()
        if self._busy is not None:
            at_work = any(model.engine.active_jobs for model in self._models)
            percent = use_by_others(self.readings, _own_processes(), at_work=at_work)
            busy = self._busy.observe(percent, now)
            self._pause.set_reason("busy", "another program uses the graphics card" if busy else "")
        if self._power is not None:
            if self._power.observe(self.readings, now):
                self._pool.close(_POWER)
            else:
                self._pool.reopen(_POWER)

    async def close(self) -> None:
        """Give the cards back as they were."""
        await self._in_thread(self._meter.restore_power)
        self._thread.shutdown(wait=False)

    def to_map(self) -> list[dict[str, Any]]:
        """Return the readings for the owner."""
        return [
            {
                "name": reading.name,
                "busy_percent": reading.busy_percent,
                "power_watts": reading.power_watts,
                "temperature_c": reading.temperature_c,
            }
            for reading in self.readings
        ]

    async def _in_thread(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    async def _limit_power(self) -> None:
        watts = self._max_watts
        problem = await self._in_thread(lambda: self._meter.limit_power(watts))
        if problem:
            self._power = PowerRule(watts)
            self.power = (
                f"the card itself was not limited ({problem}): no new job starts while a card draws more than {watts} W"
            )
        else:
            self.power = f"each card is limited to {watts} W by its driver, until the node ends"
        logger.info("power: %s", self.power, extra={"event": "power_limit", "watts": watts})


def _own_processes() -> frozenset[int]:
    """Return this process and all that it started."""
    own = psutil.Process()
    return frozenset({own.pid, *(child.pid for child in own.children(recursive=True))})
