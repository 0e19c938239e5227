"""How a child comes by its pipe to the parent: it inherits sockets, or where it cannot, it calls back.

Inherited sockets need no listener, and a second one can carry descriptors (see ``parent_line``). Systems without that
(Windows) have TCP over 127.0.0.1: the child reads port and secret from its standard input, which nobody else can see,
and connects. The child's side: ``child_call``.
"""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from gpunode_engines.channel import ParentChannel
from gpunode_engines.child_call import PID, first_words
from gpunode_engines.secret_listener import PROOF_TIMEOUT_S, SecretListener

CALL_TIMEOUT_S: Final = 60.0
"""What a child has to start its interpreter and call: seconds on a slow disk behind a virus scanner."""


@dataclass(frozen=True, slots=True)
class Linked:
    """What a parent has of a child that it is linked to.

    pid: of the child itself, which is not always the process that was started (Windows: a virtual environment's
    ``python.exe`` starts another one). line: for ``ParentServices``, None = the child makes its connections itself.
    """

    channel: ParentChannel
    pid: int
    line: socket.socket | None


class ChildLink(Protocol):
    """One child's way. ``close`` must be called, whatever happens before; what ``meet`` returned is not closed by it.

    descriptors: that the child inherits. first_words: that it reads from its standard input.
    """

    descriptors: tuple[int, ...]
    first_words: bytes

    async def meet(self, process: asyncio.subprocess.Process) -> Linked:
        """Return the link, once the process was started. Raises ChildSilent."""
        ...

    def close(self) -> None:
        """Close all that is not the caller's. Idempotent."""
        ...


OpenLink = Callable[[], Awaitable[ChildLink]]
"""Returns a new link. Raises OSError."""


class ChildSilent(Exception):
    """A child did not link itself to its parent; why, as a predicate. One that has ended tells by its exit code."""


class InheritedSockets:
    """Implements ``ChildLink`` with two socket pairs."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self._our_line, self._their_line = socket.socketpair()
        self.descriptors: tuple[int, ...] = (self._theirs.fileno(), self._their_line.fileno())
        self.first_words = b""
        self._handed_over = False

    @classmethod
    async def open(cls) -> "InheritedSockets":
        """See ``OpenLink``."""
        return cls()

    async def meet(self, process: asyncio.subprocess.Process) -> Linked:
        """See ``ChildLink``. Here a child that has ended shows as the end of its channel."""
        channel = await ParentChannel.open(self._ours)
        self._handed_over = True
        return Linked(channel, process.pid, self._our_line)

    def close(self) -> None:
        """See ``ChildLink``."""
        self._theirs.close()
        self._their_line.close()
        if not self._handed_over:
            self._ours.close()
            self._our_line.close()


class LoopbackCall:
    """Implements ``ChildLink`` with a listener that takes one call. timeout_s: for the call, > 0."""

    def __init__(self, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._caller: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._caller = asyncio.get_running_loop().create_future()
        self._listener = SecretListener(self._take)
        self._handed_over = False
        self.descriptors: tuple[int, ...] = ()
        self.first_words = b""

    @classmethod
    async def open(cls) -> "LoopbackCall":
        """See ``OpenLink``."""
        link = cls()
        await link.listen()
        return link

    async def listen(self) -> None:
        """Wait for the call from now on. Raises OSError."""
        await self._listener.open()
        self.first_words = first_words(self._listener.port, self._listener.secret)

    async def meet(self, process: asyncio.subprocess.Process) -> Linked:
        """See ``ChildLink``."""
        ended = asyncio.create_task(process.wait())
        try:
            awaited: set[asyncio.Future[Any]] = {self._caller, ended}
            await asyncio.wait(awaited, timeout=self._timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if not self._caller.done():
                raise ChildSilent(f"did not answer within {self._timeout_s:g} s")
        finally:
            ended.cancel()
        reader, writer = self._caller.result()
        try:
            async with asyncio.timeout(PROOF_TIMEOUT_S):
                (pid,) = PID.unpack(await reader.readexactly(PID.size))
        except (OSError, EOFError, TimeoutError) as error:
            raise ChildSilent("hung up") from error
        self._handed_over = True
        return Linked(ParentChannel(reader, writer), pid, None)

    def close(self) -> None:
        """See ``ChildLink``."""
        self._listener.close()
        if self._caller.done() and not self._handed_over:
            self._caller.result()[1].close()

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take the first call that proved itself, and no other."""
        self._listener.close()
        if self._caller.done():
            writer.close()
        else:
            self._caller.set_result((reader, writer))


CAN_INHERIT: Final = os.name == "posix" and hasattr(socket, "send_fds")

open_link: Final[OpenLink] = InheritedSockets.open if CAN_INHERIT else LoopbackCall.open
"""This platform's way."""
