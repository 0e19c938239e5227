"""Reading the arguments of control commands."""

from collections.abc import Mapping
from typing import Any

from gpunode_node.errors import ControlRefused


def api_key_of(arguments: Mapping[str, Any]) -> str:
    """Return the API key among a command's arguments. Raises ControlRefused: there is none."""
    api_key = arguments.get("api_key")
    if not isinstance(api_key, str) or not api_key:
        raise ControlRefused("The account's API key is missing.")
    return api_key
