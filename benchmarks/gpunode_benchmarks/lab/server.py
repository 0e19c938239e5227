"""The lab's process: makes the hosts, starts the forwarder, and does what those who use the lab ask for.

It is the first process of its own process ID namespace: when it ends, however that comes, the kernel kills everything
that runs on the hosts, and with the last process and descriptor the namespaces and devices are gone too.

Messages, each answered with ``{"ok": …}`` or ``{"error": text}``:

- ``about``: world and folder.
- ``launch`` host, command or call, arguments, environment; with descriptors. Answered at once, and with ``{"exit":
  code}`` at the program's end, negative for a signal. ``signal`` number on the same connection reaches the program's
  process group; closing the connection kills it.
- ``cut``, ``mend`` links, pairs of hosts. ``traffic``: the forwarder's counts.
- ``kill``, ``stop``, ``resume`` host; ``slow`` host, share.
"""

import contextlib
import os
import selectors
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.host_processes import continue_all, kill_all, stop_all
from gpunode_benchmarks.lab.launch import Launch, launch
from gpunode_benchmarks.lab.messages import Message, close_all, receive_message, send_message
from gpunode_benchmarks.lab.pacing import Pacing

_FORWARDER_TIMEOUT_S: Final = 10.0


class LabServer:
    """Serves one lab until it is told to end; takes SIGCHLD and SIGTERM from now on.

    Args:
        folder: of the lab; each host has a folder below it.
        namespaces: descriptor and number of each host's network namespace.
        forwarder: process id, and the socket for its orders.
        listener: takes connections. lifeline: the lab ends when it is closed; None: only by a signal.
    """

    def __init__(
        self,
        folder: Path,
        namespaces: Mapping[str, tuple[int, int]],
        forwarder: tuple[int, socket.socket],
        listener: socket.socket,
        lifeline: int | None,
    ) -> None:
        self._folder = folder
        self._namespaces = namespaces
        self._forwarder_pid, self._orders = forwarder
        self._orders.settimeout(_FORWARDER_TIMEOUT_S)
        self._listener = listener
        self._pacing = Pacing()
        self._programs: dict[socket.socket, int] = {}
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._selector.register(self._wake_reader, selectors.EVENT_READ, self._reap)
        self._selector.register(listener, selectors.EVENT_READ, self._accept)
        if lifeline is not None:
            self._selector.register(lifeline, selectors.EVENT_READ, _end)
        signal.set_wakeup_fd(self._wake_writer)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: _end())  # the first process of a namespace gets no unhandled ones

    def run(self) -> None:
        """Serve until SIGTERM, the lifeline's end, or the forwarder's death, which raises ``SystemExit``."""
        while True:
            due_at = self._pacing.next_due_at
            timeout_s = None if due_at is None else max(0.0, due_at - time.monotonic())
            for key, _ in self._selector.select(timeout_s):
                key.data()
            for host, runs in self._pacing.due(time.monotonic()):
                (continue_all if runs else stop_all)(self._network(host))

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._selector.register(connection, selectors.EVENT_READ, lambda: self._serve(connection))

    def _serve(self, connection: socket.socket) -> None:
        received = receive_message(connection)
        if received is None:
            self._drop(connection)
            return
        message, descriptors = received
        try:
            answer: Message = {"ok": self._do(connection, message, descriptors)}
        except (OSError, LabFailed, LookupError) as error:  # a wrong request must not end the lab
            answer = {"error": f"{type(error).__name__}: {error}"}
        finally:
            close_all(descriptors)
        with contextlib.suppress(OSError):  # who asked may be gone
            send_message(connection, answer)

    def _do(self, connection: socket.socket, message: Message, descriptors: Sequence[int]) -> Any:
        match message["do"]:
            case "launch":
                return self._launch(connection, message, descriptors)
            case "signal":
                return self._signal(connection, message["number"])
            case "cut" | "mend" | "traffic":
                return self._order(message)
            case "kill" | "stop" | "resume" | "slow":
                return self._change_host(message)
            case unknown:
                raise LabFailed(f"The lab knows no {unknown!r}.")

    def _launch(self, connection: socket.socket, message: Message, descriptors: Sequence[int]) -> int:
        host = message["host"]
        order = Launch(
            namespace=self._namespaces[host][0],
            folder=self._folder / host,
            environment=message["environment"],
            standard=descriptors[:3],
            command=message["command"],
            call=message["call"],
            arguments=message["arguments"],
            result=descriptors[3] if len(descriptors) > 3 else None,
        )

        def close_inherited() -> None:
            close_all([*descriptors, *self._own_descriptors()])

        self._programs[connection] = pid = launch(order, close_inherited)
        return pid

    def _own_descriptors(self) -> list[int]:
        namespaces = [descriptor for descriptor, _ in self._namespaces.values()]
        watched = [key.fd for key in self._selector.get_map().values()]
        epoll = getattr(self._selector, "fileno", lambda: -1)()
        return [*namespaces, *(fd for fd in watched if fd > 2), self._orders.fileno(), self._wake_writer, epoll]

    def _signal(self, connection: socket.socket, number: int) -> None:
        if connection in self._programs:
            _signal_group(self._programs[connection], number)

    def _order(self, message: Message) -> Message:
        send_message(self._orders, message)
        answer = receive_message(self._orders)
        if answer is None:
            raise LabFailed("The lab's forwarder has ended.")
        return answer[0]

    def _network(self, host: str) -> int:
        return self._namespaces[host][1]

    def _change_host(self, message: Message) -> int:
        host = message["host"]
        network = self._network(host)
        self._pacing.forget(host)
        if message["do"] == "kill":
            return kill_all(network)
        if message["do"] == "stop":
            return stop_all(network)
        count = continue_all(network)
        if message["do"] == "slow":
            self._pacing.slow(host, message["share"], time.monotonic())
        return count

    def _reap(self) -> None:
        """Take note of what has ended: programs, their orphans, or the forwarder."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_reader, 4096)
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                if pid == self._forwarder_pid:
                    raise SystemExit("The lab's forwarder has ended, so the lab ends too.")
                self._report_exit(pid, os.waitstatus_to_exitcode(status))

    def _report_exit(self, pid: int, code: int) -> None:
        for connection, program in self._programs.items():
            if program == pid:
                del self._programs[connection]
                with contextlib.suppress(OSError):
                    send_message(connection, {"exit": code})
                return

    def _drop(self, connection: socket.socket) -> None:
        """Forget who is gone, and kill the program that was started on this connection."""
        if pid := self._programs.pop(connection, None):
            _signal_group(pid, signal.SIGKILL)
        self._selector.unregister(connection)
        connection.close()


def _signal_group(pid: int, number: int) -> None:
    """Signal a program's process group, or the program alone in the moment before it leads one."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        os.kill(pid, number)  # it is our child and not reaped, so the number is its own


def _end() -> None:
    raise SystemExit(0)
