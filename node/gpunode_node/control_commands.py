"""What the control socket answers, of whatever kind the node is."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gpunode_node.control_arguments import api_key_of
from gpunode_node.control_server import Command
from gpunode_node.pause import Pause
from gpunode_node.registered_contact import RegisteredContact

Answer = Callable[[], Awaitable[dict[str, Any]]]
"""Takes no arguments; a GpunodeError becomes the answer's error."""


class ControlCommands:
    """The commands of a running node.

    Args:
        pause: of the node.
        link: to its tracker.
        status, earnings: what these two answer.
    """

    def __init__(self, pause: Pause, link: RegisteredContact[Any], status: Answer, earnings: Answer) -> None:
        self._pause_switch = pause
        self._contact = link
        self._answers = {"status": status, "earnings": earnings}

    def table(self) -> dict[str, Command]:
        """Return the commands by name."""
        return {name: _without_arguments(answer) for name, answer in self._answers.items()} | {
            "link": self._link,
            "pause": self._pause,
            "resume": self._resume,
        }

    async def _pause(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        self._pause_switch.ask_owner(paused=True)
        return self._pause_switch.to_map()

    async def _resume(self, arguments: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 -- the commands' signature
        self._pause_switch.ask_owner(paused=False)
        return self._pause_switch.to_map()

    async def _link(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        api_key = api_key_of(arguments)
        reply = await self._contact.link(api_key)
        return {"account": reply.account, "moved_microcredits": reply.moved_microcredits}


def _without_arguments(answer: Answer) -> Command:
    async def command(_: Mapping[str, Any]) -> dict[str, Any]:
        return await answer()

    return command
