"""SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once."""

import asyncio
import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)


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
        self.at_once = False  #: the second signal came

    def __enter__(self) -> "StopSignals":
        for number in SIGNALS:
            self._loop.add_signal_handler(number, self.receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number in SIGNALS:
            self._loop.remove_signal_handler(number)

    def receive(self) -> None:
        """Take one signal; from the third one on nothing more happens, so that children still get ended."""
        if not self._asked.is_set():
            self._asked.set()
        elif not self.at_once:
            self.at_once = True
            self._main.cancel()
