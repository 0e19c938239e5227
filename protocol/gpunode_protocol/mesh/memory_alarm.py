"""When p2pd's memory grows as only an attack makes it grow, and what to do then. Pure.

p2pd has no limits of its own: for a request whose header announces 1 MiB (DHT) or 4 MiB (libp2p's own DHT) it
allocates that much at once and waits for the rest for ever. Measured: 690 streams of 13 bytes, from one peer, and the
kernel's limit killed it, with everybody's streams. Closing the connection frees all of it, so the cure is to close
connections before that limit: first those over which nothing is served, then all.
"""

from dataclasses import dataclass, replace
from enum import Enum

MEBIBYTE = 1024 * 1024

RESIDENT_STEP_BYTES = 80 * MEBIBYTE
DATA_STEP_BYTES = 320 * MEBIBYTE
"""Growth within a calm spell that is an attack's. Go maps memory by 64 MiB, and 200 job streams need 20 MiB."""

CALM_S = 20.0
"""Without an alarm for so long, the level reached counts as normal: what grows slowly is connections."""

SIEGE_S = 5.0
"""After an alarm, connections without streams are closed for so long as they come: a flooder dials again at once. An
honest client opens a stream within milliseconds and stays."""

SIEGE_DATA_BYTES = 1024 * MEBIBYTE
"""Growth under siege from which the flooder must be among the peers with open streams, too."""

FULL_SHARE = 0.75
"""Share of the cap from which all connections are closed, however slowly it was reached."""


class Measure(Enum):
    """What to do about p2pd's memory."""

    NOTHING = "let be"
    CLOSE_QUIET = "closed where no stream is open"
    CLOSE_ALL = "all closed"
    END = "ended with p2pd, which is started again"


@dataclass(frozen=True, slots=True)
class MemorySample:
    """p2pd's memory at ``at_s`` (monotonic seconds): resident, and allocated (which the kernel limits), in bytes."""

    resident_bytes: int
    data_bytes: int
    at_s: float


class MemoryAlarm:
    """Judges one p2pd's samples, oldest first.

    Args:
        resident_max_bytes: the cap.
    """

    def __init__(self, resident_max_bytes: int) -> None:
        self._resident_max_bytes = resident_max_bytes
        self._normal: MemorySample | None = None
        self._siege_until_s: float | None = None

    def judge(self, sample: MemorySample) -> Measure:
        """Return what to do now."""
        if sample.resident_bytes > self._resident_max_bytes:
            return Measure.END
        if self._normal is None:
            self._normal = sample
        if self._siege_until_s is None:
            return self._judge_in_peace(sample, self._normal)
        return self._judge_under_siege(sample, self._normal)

    def _judge_in_peace(self, sample: MemorySample, normal: MemorySample) -> Measure:
        resident = sample.resident_bytes - normal.resident_bytes
        data = sample.data_bytes - normal.data_bytes
        if resident > RESIDENT_STEP_BYTES or data > DATA_STEP_BYTES or self._is_full(sample):
            self._siege_until_s, self._normal = sample.at_s + SIEGE_S, sample
            return Measure.CLOSE_QUIET
        if sample.at_s - normal.at_s > CALM_S:
            self._normal = sample
        elif resident < 0:
            self._normal = replace(normal, resident_bytes=sample.resident_bytes)
        return Measure.NOTHING

    def _judge_under_siege(self, sample: MemorySample, begin: MemorySample) -> Measure:
        if sample.data_bytes - begin.data_bytes > SIEGE_DATA_BYTES or self._is_full(sample):
            self._siege_until_s, self._normal = sample.at_s + SIEGE_S, sample
            return Measure.CLOSE_ALL
        if self._siege_until_s is not None and sample.at_s < self._siege_until_s:
            return Measure.CLOSE_QUIET
        self._siege_until_s, self._normal = None, sample
        return Measure.NOTHING

    def _is_full(self, sample: MemorySample) -> bool:
        return sample.resident_bytes > FULL_SHARE * self._resident_max_bytes
