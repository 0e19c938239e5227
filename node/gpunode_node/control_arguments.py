"""Reading the arguments of control commands."""

from collections.abc import Mapping
from typing import Any

from gpunode_protocol.api_key_text import can_be_api_key

from gpunode_node.errors import ControlRefused


def api_key_of(arguments: Mapping[str, Any]) -> str:
    """Return the API key among a command's arguments. Raises ControlRefused: there is none, or it is none."""
    api_key = arguments.get("api_key")
    if not isinstance(api_key, str) or not api_key:
        raise ControlRefused("The account's API key is missing.")
    if not can_be_api_key(api_key):
        raise ControlRefused("What was given is no API key: that would be one word. Check --api-key-file.")
    return api_key
