"""Server-sent events (HTML Living Standard, 9.2.6), sans-IO: bytes in, events out. Comments are overlooked."""

import json
from typing import Any, Final

from gpunode.errors import TrackerError
from gpunode.types import QueueEvent

MAX_EVENT_BYTES: Final = 4 * 1024 * 1024


class EventLines:
    """Reads one stream."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._name = ""
        self._data: list[str] = []
        self._size = 0

    def feed(self, data: bytes) -> list[QueueEvent]:
        """Return the events that are whole now.

        Raises:
            TrackerError: an event has no end, or is not one of a tracker.
        """
        self._rest += data
        *lines, rest = self._rest.split(b"\n")
        if len(rest) > MAX_EVENT_BYTES:
            raise _too_long()
        self._rest = bytearray(rest)
        found = [self._line(line.decode(errors="replace").removesuffix("\r")) for line in lines]
        return [event for event in found if event is not None]

    def _line(self, line: str) -> QueueEvent | None:
        if not line:
            return self._event()
        field, _, value = line.partition(":")
        if field == "event":
            self._name = value.removeprefix(" ")
        elif field == "data":
            self._data.append(value.removeprefix(" "))
            self._size += len(value)
            if self._size > MAX_EVENT_BYTES:
                raise _too_long()
        return None

    def _event(self) -> QueueEvent | None:
        name, text = self._name, "\n".join(self._data)
        self._name, self._data, self._size = "", [], 0
        if not name or not text:
            return None
        try:
            data: Any = json.loads(text)
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            raise TrackerError(
                "The tracker sent an event that cannot be read. Check that both sides run the same version."
            )
        return QueueEvent(name, data)


def _too_long() -> TrackerError:
    return TrackerError(f"The tracker sent an event of more than {MAX_EVENT_BYTES} bytes.")
