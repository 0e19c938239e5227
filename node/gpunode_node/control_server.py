"""The control socket: one JSON line asks, one JSON line answers. Only the owner of the daemon can connect.

Request ``{"command": "status", "arguments": {}}``; answer ``{"ok": true, "result": {…}}`` or
``{"ok": false, "error": "what happened and what to do"}``.
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from gpunode_protocol.errors import GpunodeError

from gpunode_node.control_transport import ControlTransport, Listening, control_transport

logger = logging.getLogger(__name__)

Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]
"""Takes the arguments, returns the result; a GpunodeError becomes the answer's error."""


class ControlServer:
    """Answers commands at a control socket.

    Args:
        path: of the socket; one that is left over is replaced.
        commands: by name.
        transport: None = this platform's.
    """

    def __init__(self, path: Path, commands: Mapping[str, Command], transport: ControlTransport | None = None) -> None:
        self._path = path
        self._transport = transport or control_transport()
        self._commands = commands
        self._server: Listening | None = None
        self._conversations: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen.

        Raises:
            StateUnwritable: the socket cannot be made.
        """
        self._server = await self._transport.listen(self._path, self._accept)

    async def stop(self) -> None:
        """Stop listening and remove the socket. May be called twice."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for conversation in tuple(self._conversations):
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        self._path.unlink(missing_ok=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._converse(reader, writer))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(json.dumps(await self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (OSError, ValueError):  # the other side has gone, or its line is too long
            logger.debug("control connection lost", extra={"event": "control_lost"})
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command = self._commands[request["command"]]
            arguments = dict(request.get("arguments") or {})
        except (ValueError, TypeError, KeyError, RecursionError):
            return {"ok": False, "error": f"The commands are {', '.join(self._commands)}, each as one JSON line."}
        try:
            return {"ok": True, "result": await command(arguments)}
        except GpunodeError as error:
            return {"ok": False, "error": str(error)}
        except Exception:
            logger.exception("control command failed", extra={"event": "control_failed"})
            return {"ok": False, "error": "The node failed to answer; its log says why."}
