"""Which tracker this machine uses, according to its settings."""

import contextlib
from typing import ClassVar

from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.settings import LayeredSettings
from pydantic_settings import SettingsConfigDict


class _OfClient(LayeredSettings):
    section: ClassVar[str] = "client"
    model_config = SettingsConfigDict(env_prefix="GPUNODE_", extra="ignore", env_ignore_empty=True)
    tracker: str = ""


class _OfNode(LayeredSettings):
    section: ClassVar[str] = "node"
    model_config = SettingsConfigDict(env_prefix="GPUNODE_", extra="ignore", env_ignore_empty=True)
    bootstrap: str = ""


def effective_tracker() -> str:
    """Return the client's tracker, else the node's, else nothing; the settings are judged by the checks, not here."""
    with contextlib.suppress(GpunodeError):
        return _OfClient.load({}).tracker or _OfNode.load({}).bootstrap
    return ""
