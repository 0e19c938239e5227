"""The parent's end of a child's second line (see ``parent_line``), in a thread: connections, and refused system calls.

A thread, because a hostile child may ask without end: that must not keep the node's event loop busy.
"""

import contextlib
import errno
import logging
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped]  # -- ships no annotations

from gpunode_engines.denials import Denials
from gpunode_engines.model_server import ModelServer, connect_to
from gpunode_engines.parent_line import CONNECT, DENIALS, GRANTED, REFUSED, REQUEST, SERVER

if TYPE_CHECKING:
    from seccompy.notify import Listener

logger = logging.getLogger(__name__)

MAX_ANSWERED = 1_000
"""Refused calls that are answered one by one; afterwards the kernel refuses them alone (ENOSYS), and nobody hears."""

_CONNECT_TIMEOUT_S = 5.0
_LOOPBACK = "127.0.0.1"
_X32_BIT = 0x40000000


class ParentServices:
    """Serves one child until it ends or ``close`` is called, which must be, from another thread."""

    def __init__(self, sock: socket.socket, denials: Denials, server: ModelServer | None = None) -> None:
        self._sock = sock
        self._server = server
        self._denials = denials
        self._pid = 0
        self._port: int | None = None
        self._listener: Listener | None = None
        self._answered = 0
        self._not_connected = 0
        self._poll = select.poll()
        self._answers: dict[int, Callable[[int], bool]] = {}
        self._thread = threading.Thread(target=self._serve, name="engine-services", daemon=True)

    def start(self, pid: int) -> None:
        """Begin to serve the process ``pid``."""
        self._pid = pid
        self._thread.start()

    def close(self) -> None:
        """End the thread and close everything. Idempotent."""
        with contextlib.suppress(OSError):  # closed by the child, or by an earlier call
            self._sock.shutdown(socket.SHUT_RDWR)
        if self._thread.ident is not None:
            self._thread.join()
        self._sock.close()

    def _serve(self) -> None:
        self._watch(self._sock.fileno(), self._answer_request)
        try:
            going_on = True
            while going_on:
                for descriptor, events in self._poll.poll():
                    answer = self._answers.get(descriptor)
                    going_on = (answer is None or answer(events)) and going_on
        except OSError:
            logger.exception("an engine is no longer served", extra={"event": "engine_services_failed"})
        finally:
            self._stop_listening()

    def _watch(self, descriptor: int, answer: Callable[[int], bool]) -> None:
        """Let ``answer`` be called with the events of a descriptor; it returns False when the child is gone."""
        self._answers[descriptor] = answer
        self._poll.register(descriptor, select.POLLIN)

    def _answer_request(self, _events: int) -> bool:
        """Answer one request; False when the child is gone."""
        data, descriptors, _, _ = socket.recv_fds(self._sock, REQUEST.size, 1)
        if len(data) < REQUEST.size:
            _close_all(descriptors)
            return False
        kind, port = REQUEST.unpack(data)
        if kind == DENIALS and descriptors and self._listener is None:
            self._listen(descriptors.pop())
        elif kind in (CONNECT, SERVER):
            self._connect(kind, port)
        _close_all(descriptors)
        return True

    def _connect(self, kind: bytes, port: int) -> None:
        try:
            with self._to_server() if kind == SERVER else self._to_child(port) as connection:
                connection.settimeout(None)  # blocking is a property of the description, which both processes share
                socket.send_fds(self._sock, [GRANTED], [connection.fileno()])
        except OSError as error:
            self._tell_not_connected(error)
            with contextlib.suppress(OSError):  # the child is gone
                self._sock.sendall(REFUSED)

    def _tell_not_connected(self, error: OSError) -> None:
        """Log the first time, the 10th, the 100th and so on: a hostile child would fill the log."""
        self._not_connected += 1
        if str(self._not_connected).strip("0") == "1":
            logger.warning(
                "an engine was not connected: %s (%d in all)",
                error,
                self._not_connected,
                extra={"event": "engine_not_connected", "count": self._not_connected},
            )

    def _to_child(self, port: int) -> socket.socket:
        if not self._is_the_childs(port):
            raise ConnectionRefusedError(f"Process {self._pid} does not listen on port {port}.")
        return socket.create_connection((_LOOPBACK, port), _CONNECT_TIMEOUT_S)

    def _to_server(self) -> socket.socket:
        if self._server is None:
            raise ConnectionRefusedError(f"The model of process {self._pid} has no server.")
        return connect_to(self._server, _CONNECT_TIMEOUT_S)

    def _is_the_childs(self, port: int) -> bool:
        """Whether the child itself listens there. The first such port is the only one from then on."""
        if self._port is None and port in _listening_ports(self._pid):
            self._port = port
        return port == self._port

    def _listen(self, descriptor: int) -> None:
        from seccompy.notify import Listener  # noqa: PLC0415 -- exists on Linux only, where children send descriptors

        self._listener = Listener(descriptor)
        self._watch(descriptor, self._answer_denied)

    def _answer_denied(self, events: int) -> bool:
        """Refuse one system call.

        Where nothing is to be read, all that could call have ended: kernels before 6.11 would let us wait for ever.
        """
        from seccompy import SeccompError  # noqa: PLC0415 -- see ``_listen``

        listener = self._listener
        if listener is None:
            return True
        if not events & select.POLLIN:
            self._stop_listening()
            return True
        try:
            call = listener.recv()
            self._denials.record(_name_of(call.nr))
            listener.respond(call.id, error=errno.EPERM)
        except SeccompError as error:
            if error.errno != errno.ENOENT:  # else the thread was killed meanwhile
                self._stop_listening()
            return True
        self._answered += 1
        if self._answered == MAX_ANSWERED:
            self._stop_listening()
        return True

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._answers.pop(listener.fileno(), None)
            self._poll.unregister(listener.fileno())
            listener.close()


def _name_of(number: int) -> str:
    from seccompy import syscall_name  # noqa: PLC0415 -- see ``ParentServices._listen``

    try:
        return syscall_name(number & ~_X32_BIT)
    except ValueError:
        return f"system call {number}"


def _listening_ports(pid: int) -> set[int]:
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp4")
    except psutil.Error:
        return set()
    return {
        connection.laddr.port
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip == _LOOPBACK
    }


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
