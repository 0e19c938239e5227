"""Which options a pull worker has no use for, and where it is told of its tracker. Imports nothing heavy."""

from collections.abc import Mapping
from typing import Any, Final

import typer

from gpunode_node.errors import InvalidSettings

TRACKER_VARIABLE: Final = "GPUNODE_TRACKER"
MESH_ONLY: Final = {
    "bootstrap": "--bootstrap",
    "listen": "--listen",
    "port": "--port",
    "announce_address": "--announce-address",
    "quic": "--no-quic",
    "latitude": "--latitude",
    "longitude": "--longitude",
}
"""Settings of the mesh, by their options."""


def refuse_mesh_options(given: Mapping[str, Any]) -> None:
    """Check the settings that the command line gives beside ``--pull``; what is empty or None was not given.

    Raises:
        BadParameter: one is of the mesh.
    """
    named = [option for name, option in MESH_ONLY.items() if given.get(name) not in {None, ()}]
    if not named:
        return
    hint = " A pull worker is told of its tracker with --tracker URL." if "--bootstrap" in named else ""
    raise typer.BadParameter(
        f"{', '.join(named)} and --pull exclude each other: a pull worker takes no part in the mesh.{hint}"
    )


def tracker_of(option: str | None, environment: Mapping[str, str], bootstrap: str) -> str:
    """Return the tracker's address as it is written: the option, the environment, or the node's setting.

    Raises:
        InvalidSettings: nobody names one.
    """
    named = option or environment.get(TRACKER_VARIABLE, "").strip() or bootstrap
    if not named:
        raise InvalidSettings("Say which tracker to work for with --tracker URL, such as https://tracker.example.")
    return named
