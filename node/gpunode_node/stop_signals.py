"""SIGTERM, SIGINT and Windows' SIGBREAK: the first asks for an orderly end, the second ends at once."""

import asyncio
import signal
from typing import Any

SIGNALS = tuple(signal.Signals[name] for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name))
"""SIGBREAK is Ctrl-Break, and the only one that another program on Windows can send for an orderly end."""


class StopSignals:
    """Handlers while the context lasts; to be used in the main thread.

    Args:
        main: cancelled by the second signal.
        asked: set by the first one.
    """

    def __init__(self, main: asyncio.Task[None], asked: asyncio.Event) -> None:
        self._main = main
        self._loop = asyncio.get_running_loop()
        self._asked = asked
        self._before: dict[signal.Signals, Any] = {}
        self.at_once = False  #: the second signal came

    def __enter__(self) -> "StopSignals":
        for number in SIGNALS:
            try:
                self._loop.add_signal_handler(number, self.receive)
            except NotImplementedError:  # loops on Windows
                self._before[number] = signal.signal(number, self._pass_on)
        return self

    def __exit__(self, *error: object) -> None:
        for number in SIGNALS:
            if number in self._before:
                signal.signal(number, self._before.pop(number))
            else:
                self._loop.remove_signal_handler(number)

    def _pass_on(self, *_: object) -> None:
        """Take a signal in the middle of anything, and let the loop receive it."""
        self._loop.call_soon_threadsafe(self.receive)

    def receive(self) -> None:
        """Take one signal; from the third one on nothing more happens, so that children still get ended."""
        if not self._asked.is_set():
            self._asked.set()
        elif not self.at_once:
            self.at_once = True
            self._main.cancel()
