"""At which times of the day the owner lends this machine. Pure."""

import re
from dataclasses import dataclass
from datetime import datetime, time
from typing import Final, Self

from gpunode_node.errors import InvalidSettings

_RANGE: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class _Range:
    """From ``start`` up to, and without, ``end``; over midnight where the end is the earlier one."""

    start: time
    end: time

    def covers(self, moment: time) -> bool:
        if self.start < self.end:
            return self.start <= moment < self.end
        return moment >= self.start or moment < self.end


@dataclass(frozen=True, slots=True)
class Schedule:
    """Ranges of local time. Without one, the machine is lent always."""

    text: str
    ranges: tuple[_Range, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``22:00-08:00`` or several such ranges, separated by commas.

        Raises:
            InvalidSettings: anything else.
        """
        parts = [part.strip() for part in text.split(",") if part.strip()]
        matches = [_RANGE.fullmatch(part) for part in parts]
        ranges = []
        for part, match in zip(parts, matches, strict=True):
            if match is None:
                raise InvalidSettings(
                    f"{part!r} is no time of the day. A schedule looks like 22:00-08:00, or like "
                    "12:00-13:30,22:00-08:00, in this computer's local time."
                )
            start_hour, start_minute, end_hour, end_minute = map(int, match.groups())
            ranges.append(_Range(time(start_hour, start_minute), time(end_hour, end_minute)))
        return cls(", ".join(parts), tuple(ranges))

    def is_open(self, now: datetime) -> bool:
        """Whether the machine is lent at this local time. A range that ends where it begins is the whole day."""
        return not self.ranges or any(part.covers(now.time()) for part in self.ranges)

    def reason(self, now: datetime) -> str:
        """Return why nothing is served now, empty when something is."""
        return "" if self.is_open(now) else f"it is {now:%H:%M}, the schedule is {self.text}"
