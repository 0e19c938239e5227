"""When a card is in somebody else's use, and when it draws too much. Pure: readings and instants are passed in."""

from collections.abc import Collection, Sequence
from typing import Final

from gpunode_engines.gpu_readings import GpuReading

BUSY_AFTER_S: Final = 10.0
"""Others must have used a card for so long before the node gives way: a window that is drawn is no reason."""
QUIET_AFTER_S: Final = 120.0
"""And have left it alone for so long before it comes back: a game that loads its next level is not over."""
POWER_WINDOW_S: Final = 10.0
"""Power is compared as an average over so long."""


def use_by_others(readings: Sequence[GpuReading], own: Collection[int], *, at_work: bool) -> int:
    """Return how much of the busiest card's time other processes take, percent.

    Args:
        readings: of all cards.
        own: process ids of the node and its engines.
        at_work: an engine has a job. Where the driver hides what each process does, a card that works while no engine
            does is another's; while one does, nothing can be told.
    """
    return max((_use_of_card(reading, own, at_work=at_work) for reading in readings), default=0)


def _use_of_card(reading: GpuReading, own: Collection[int], *, at_work: bool) -> int:
    told = [process for process in reading.processes if process.busy_percent is not None]
    if told:
        return min(100, sum(process.busy_percent or 0 for process in told if process.pid not in own))
    return 0 if at_work else reading.busy_percent


class BusyRule:
    """Whether to give way to other programs, with hysteresis.

    Args:
        threshold_percent: of a card's time, 1 to 100.
    """

    def __init__(self, threshold_percent: int) -> None:
        self._threshold_percent = threshold_percent
        self._since: float | None = None  #: the opposite of ``busy`` has held since
        self.busy = False

    def observe(self, percent: int, now: float) -> bool:
        """Take a measurement; return whether to give way. now: monotonic seconds."""
        above = percent >= self._threshold_percent
        if above == self.busy:
            self._since = None
            return self.busy
        self._since = now if self._since is None else self._since
        if now - self._since >= (QUIET_AFTER_S if self.busy else BUSY_AFTER_S):
            self.busy, self._since = above, None
        return self.busy


class PowerRule:
    """Whether the cards draw more than their owner allows, on average.

    Args:
        max_watts: of each card, > 0.
    """

    def __init__(self, max_watts: int) -> None:
        self._max_watts = max_watts
        self._samples: list[tuple[float, float]] = []

    def observe(self, readings: Sequence[GpuReading], now: float) -> bool:
        """Take readings; return whether new jobs have to wait. now: monotonic seconds."""
        watts = [reading.power_watts for reading in readings if reading.power_watts is not None]
        self._samples.append((now, max(watts, default=0.0)))
        self._samples = [sample for sample in self._samples if now - sample[0] <= POWER_WINDOW_S]
        return sum(power for _, power in self._samples) / len(self._samples) > self._max_watts
