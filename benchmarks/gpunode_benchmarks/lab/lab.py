"""The lab as benches and tests use it: start a world, run code on its hosts, cut, mend, kill, stop, slow.

    with Lab.start("clouds", load_world(path), preload=("gpunode_benchmarks.light_nodes",)) as lab:
        with lab.launch("london-1", [sys.executable, "-m", "gpunode", "start", …]) as node:
            rtt_ms = lab.call("tokyo-1", "my_bench:measure", peer=lab.world.address_of("london-1"))
            lab.cut("tokyo-1", "london-1")

Everything blocks; from a coroutine, use ``asyncio.to_thread``. Each method may be called from any thread.
"""

import itertools
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from gpunode_benchmarks.lab.errors import LabFailed
from gpunode_benchmarks.lab.internet import Traffic
from gpunode_benchmarks.lab.lab_folders import (
    connect,
    log_of,
    named_folder,
    passing_folder,
    remove_lab,
    world_file_of,
)
from gpunode_benchmarks.lab.lab_process import LabOrder, require_root, start_lab_process
from gpunode_benchmarks.lab.messages import Message, close_all, receive_message, send_message
from gpunode_benchmarks.lab.program import Program
from gpunode_benchmarks.lab.world import World

_ANSWER_TIMEOUT_S: Final = 30.0
_NO_ANSWER: Final = "The lab has ended, or does not answer. Take it down with: gpunode bench lab down"


class Lab:
    """A running lab. Make it with ``start``, ``start_staying`` or ``attach``.

    Args:
        world: with the truth about delays.
        folder: of the lab; each host's programs work in a folder below it, named after the host.
        lifeline: standard input of a lab that ends with this process.
    """

    def __init__(self, world: World, folder: Path, lifeline: int | None = None) -> None:
        self.world = world
        self.folder = folder
        self._lifeline = lifeline
        self._numbers = itertools.count(1)

    @classmethod
    def start(cls, name: str, world: World, *, preload: Sequence[str] = (), real_time: bool = True) -> Self:
        """Start a lab that ends with ``end``, and at the latest with this process, however it ends.

        Args:
            name: of the world.
            world: what to build.
            preload: modules to import once, for calls.
            real_time: whether packets come before all other work of the machine; delays are not exact without it.

        Raises:
            LabUnavailable: not possible here; the message says why.
            LabFailed: it did not come up.
        """
        return cls._start(passing_folder(name), world, preload, stays=False, real_time=real_time)

    @classmethod
    def start_staying(cls, name: str, world: World, *, preload: Sequence[str] = ()) -> Self:
        """Start a lab that stays until ``end``, or ``gpunode bench lab down``; see ``start``.

        Raises:
            LabFailed: there is one of this name already.
        """
        folder = named_folder(name)
        if (connection := connect(folder)) is not None:
            connection.close()
            raise LabFailed(f"The lab {name} is up already. Take it down first: gpunode bench lab down {name}")
        remove_lab(folder)
        return cls._start(folder, world, preload, stays=True, real_time=True)

    @classmethod
    def attach(cls, name: str) -> "Lab | None":
        """Return the staying lab of a world, or None if it is not up."""
        folder = named_folder(name)
        if (connection := connect(folder)) is None:
            return None
        connection.close()
        return Lab(World.model_validate_json(world_file_of(folder).read_text(encoding="utf-8")), folder)

    @classmethod
    def _start(cls, folder: Path, world: World, preload: Sequence[str], *, stays: bool, real_time: bool) -> Self:
        require_root()
        folder.mkdir(parents=True, mode=0o700)
        lifeline = None
        try:
            world_file_of(folder).write_text(world.model_dump_json(), encoding="utf-8")
            lifeline = start_lab_process(LabOrder(str(folder), tuple(preload), stays, real_time), log_of(folder))
        except BaseException:
            remove_lab(folder)
            raise
        if stays:
            os.close(lifeline)
        return cls(world, folder, None if stays else lifeline)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Kill all that runs in it and remove everything. May be called twice."""
        remove_lab(self.folder)
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None

    def folder_of(self, host: str) -> Path:
        """Return the working directory of a host's programs. Its path is short enough for Unix sockets below it.

        Raises:
            LabFailed: there is no such host; so do all methods that take one.
        """
        if host not in self.world.hosts:
            raise LabFailed(f"There is no host {host!r} in this world. Name one of {', '.join(self.world.hosts)}.")
        return self.folder / host

    def environment_of(self, host: str) -> dict[str, str]:
        """Return this process's environment as another machine has it: own folders, none of our settings."""
        left_out = ("GPUNODE_", "XDG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        folder = str(self.folder_of(host))
        return kept | {"HOME": folder, "TMPDIR": folder, "PYTHONUNBUFFERED": "1"}

    def launch(
        self,
        host: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        standard: tuple[int, int, int] | None = None,
    ) -> Program:
        """Start a command on a host.

        Args:
            host: where.
            command: program and arguments, no shell.
            environment: the whole of it; by default ``environment_of``.
            standard: descriptors of its input, output and errors; by default nothing and its log.

        Raises:
            LabFailed: the lab does not answer.
        """
        log = self._new_log(host, Path(command[0]).name)
        message = {"command": list(command), "call": "", "arguments": {}}
        return self._launch(host, message, log, environment, standard, None)

    def begin(self, host: str, call: str, **arguments: Any) -> Program:
        """Start a call of ``module:function`` on a host, in a fork of the lab's process, and return at once.

        What the module imports is there already if the lab preloaded it. Arguments and result must be JSON; a coroutine
        function runs on an event loop of its own. The environment is ``environment_of``.

        Raises:
            LabFailed: the lab does not answer.
        """
        log = self._new_log(host, call.partition(":")[2])
        reader, writer = os.pipe()
        try:
            message = {"command": [], "call": call, "arguments": arguments}
            return self._launch(host, message, log, None, None, (reader, writer))
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)

    def call(self, host: str, call: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        """Call ``module:function`` on a host and return its result; see ``begin``.

        Raises:
            TimeoutError: it took longer, and was killed.
            LabFailed: it failed; the message has its traceback.
        """
        with self.begin(host, call, **arguments) as program:
            return program.value(timeout_s)

    def cut(self, first: str, second: str | None = None) -> None:
        """Cut the link between two hosts, or all links of one; what is underway on it is lost."""
        self._ask({"do": "cut", "links": self._links(first, second)})

    def mend(self, first: str, second: str | None = None) -> None:
        """Undo ``cut``, for the same links."""
        self._ask({"do": "mend", "links": self._links(first, second)})

    def kill(self, host: str) -> int:
        """Kill all processes of a host (-9); return how many. Its kernel goes on and refuses connections.

        A host whose power fails says nothing more: cut it off first.
        """
        return self._change(host, "kill")

    def stop(self, host: str) -> int:
        """Stop all processes of a host (SIGSTOP); return how many. Its kernel still acknowledges what it receives."""
        return self._change(host, "stop")

    def resume(self, host: str) -> int:
        """Let a stopped or slowed host run as before; return how many processes it has."""
        return self._change(host, "resume")

    def slow(self, host: str, share: float) -> int:
        """Let a host's processes run a share of the time only, > 0 to < 1, in periods of 50 ms."""
        if not 0 < share < 1:
            raise ValueError(f"A slowed host runs a share of the time between 0 and 1, not {share}.")
        return self._change(host, "slow", share=share)

    def traffic(self) -> Traffic:
        """Return what the forwarder has counted since the start."""
        return Traffic(**self._ask({"do": "traffic"}))

    def _change(self, host: str, change: str, **terms: float) -> int:
        self.folder_of(host)
        return int(self._ask({"do": change, "host": host} | terms))

    def _links(self, first: str, second: str | None) -> list[tuple[str, str]]:
        if first == second:
            raise LabFailed(f"A link is between two hosts, not from {first} to itself. Name another one.")
        for host in (first, second or first):
            self.folder_of(host)
        others = [second] if second is not None else [host for host in self.world.hosts if host != first]
        return [(first, other) for other in others]

    def _new_log(self, host: str, name: str) -> Path:
        """Return the path of a log that nobody else writes."""
        return self.folder_of(host) / f"{os.getpid()}-{next(self._numbers)}-{name}.log"

    def _launch(
        self,
        host: str,
        message: Message,
        log: Path,
        environment: Mapping[str, str] | None,
        standard: tuple[int, int, int] | None,
        result: tuple[int, int] | None,
    ) -> Program:
        order = {
            "do": "launch",
            "host": host,
            "environment": dict(self.environment_of(host) if environment is None else environment),
        }
        opened = [] if standard else [os.open(os.devnull, os.O_RDONLY), os.open(log, os.O_CREAT | os.O_WRONLY, 0o600)]
        try:
            descriptors = list(standard or (opened[0], opened[1], opened[1]))
            connection = self._connect()
            try:
                _exchange(connection, order | message, [*descriptors, *([result[1]] if result else [])])
            except BaseException:
                connection.close()
                raise
        finally:
            close_all(opened)
        return Program(host, log, connection, result[0] if result else None)

    def _ask(self, message: Message) -> Any:
        with self._connect() as connection:
            return _exchange(connection, message)

    def _connect(self) -> socket.socket:
        connection = connect(self.folder, _ANSWER_TIMEOUT_S)
        if connection is None:
            raise LabFailed(_NO_ANSWER)
        return connection


def _exchange(connection: socket.socket, message: Message, descriptors: Sequence[int] = ()) -> Any:
    try:
        send_message(connection, message, descriptors)
        received = receive_message(connection)
    except OSError as error:
        raise LabFailed(_NO_ANSWER) from error
    if received is None:
        raise LabFailed(_NO_ANSWER)
    answer, _ = received
    if "error" in answer:
        raise LabFailed(f"The lab could not {message['do']}: {answer['error']}")
    return answer["ok"]
