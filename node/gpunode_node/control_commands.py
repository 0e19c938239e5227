"""What the control socket answers."""

from collections.abc import Callable, Mapping
from typing import Any

from gpunode_node.control_arguments import api_key_of
from gpunode_node.control_server import Command
from gpunode_node.node_parts import NodeParts
from gpunode_node.status import earnings_of, status_of


class ControlCommands:
    """The commands of a running node."""

    def __init__(self, parts: NodeParts, unix_time: Callable[[], float]) -> None:
        self._parts = parts
        self._unix_time = unix_time

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {
            "status": self._status,
            "earnings": self._earnings,
            "link": self._link,
            "pause": self._pause,
            "resume": self._resume,
        }

    async def _status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        return await status_of(self._parts, self._unix_time())

    async def _pause(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        self._parts.pause.ask_owner(paused=True)
        return self._parts.pause.to_map()

    async def _resume(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        self._parts.pause.ask_owner(paused=False)
        return self._parts.pause.to_map()

    async def _earnings(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        return await earnings_of(self._parts)

    async def _link(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        api_key = api_key_of(arguments)
        reply = await self._parts.link.link(api_key)
        return {"account": reply.account, "moved_microcredits": reply.moved_microcredits}
