"""A program that runs on a host of the lab, as seen by who started it."""

import json
import os
import select
import signal
import socket
from pathlib import Path
from typing import Any, Self

from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.messages import receive_message, send_message


class Program:
    """Runs until it ends or is closed, which kills it. For one thread at a time.

    Args:
        host: where. log: its output, if nothing else was asked for.
        connection: on which it was launched.
        result: descriptor of the pipe with a call's result, which this object closes.
    """

    def __init__(self, host: str, log: Path, connection: socket.socket, result: int | None = None) -> None:
        self.host = host
        self.log = log
        self._connection = connection
        self._result = result
        self._exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        self._look(0)
        return self._exit_code

    def wait(self, timeout_s: float | None = None) -> int:
        """Wait for its end and return the exit code, negative for a signal.

        Raises:
            TimeoutError: it goes on.
            LabFailed: the lab ended.
        """
        self._look(timeout_s)
        if self._exit_code is None:
            raise TimeoutError(f"The program on {self.host} still runs after {timeout_s} s.")
        return self._exit_code

    def value(self, timeout_s: float | None = None) -> Any:
        """Wait for a call's end and return its result.

        Raises:
            TimeoutError: it goes on.
            LabFailed: it raised an exception, was killed, or the lab ended; the message has the traceback or the log.
        """
        if self._result is None:
            raise LabFailed(f"What runs on {self.host} is no call, or its result was taken already.")
        data = _read_all(self._result, timeout_s)
        os.close(self._result)
        self._result = None
        code = self.wait(timeout_s)
        answer = json.loads(data) if data else {"error": f"exit code {code}: {self.last_words()}"}
        if "error" in answer:
            raise LabFailed(f"A call on {self.host} failed: {answer['error']}")
        return answer["value"]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to its process group; nothing happens if it has ended."""
        if self._exit_code is None:
            send_message(self._connection, {"do": "signal", "number": number})

    def last_words(self, lines: int = 12) -> str:
        """Return the end of its log."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])

    def close(self) -> None:
        """Kill it if it runs. May be called twice."""
        self._connection.close()
        if self._result is not None:
            os.close(self._result)
            self._result = None

    def _look(self, timeout_s: float | None) -> None:
        """Take what the lab says of it, until its end or for some seconds."""
        while self._exit_code is None:
            if not select.select([self._connection], [], [], timeout_s)[0]:
                return
            received = receive_message(self._connection)
            if received is None:
                raise LabFailed(f"The lab ended while a program ran on {self.host}.")
            self._exit_code = received[0].get("exit")


def _read_all(descriptor: int, timeout_s: float | None) -> bytes:
    data = bytearray()
    while True:
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise TimeoutError(f"A call in the lab goes on after {timeout_s} s.")
        part = os.read(descriptor, 65_536)
        if not part:
            return bytes(data)
        data += part
