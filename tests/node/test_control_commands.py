"""The table of control commands; their answers are tested in ``test_status``."""

from typing import Any, cast

import pytest
from gpunode_node.control_commands import ControlCommands
from gpunode_node.errors import ControlRefused


async def test_commands() -> None:
    """Each by its name; a link without a key is refused before anything is asked of the tracker."""
    nothing = cast("Any", None)
    table = ControlCommands(nothing, nothing, nothing, nothing).table()
    assert set(table) == {"status", "earnings", "link", "pause", "resume"}
    for arguments in ({}, {"api_key": 5}, {"api_key": ""}):
        with pytest.raises(ControlRefused, match="API key"):
            await table["link"](arguments)
