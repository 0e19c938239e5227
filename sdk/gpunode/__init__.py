"""Client of the gpunode network.

::

    from gpunode import InferenceClient

    with InferenceClient("https://tracker.example", api_key="…") as client:
        print(client.chat(messages=[{"role": "user", "content": "Hello!"}]).response)

Importing the package imports nothing else; names are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpunode.async_client import AsyncInferenceClient
    from gpunode.client import InferenceClient
    from gpunode.errors import (
        AnswerInterrupted,
        ClientError,
        GpunodeError,
        NoNodeFound,
        RequestRefused,
        TrackerUnreachable,
        VerificationFailed,
    )
    from gpunode.regions import CallerInfo, NetworkRegions, RegionInfo
    from gpunode.routing import CostTerms, Limits, RouteCandidate, RouteExplanation
    from gpunode.streaming import AsyncChatStream, ChatStream
    from gpunode.types import ChatResult, Chunk, Route, Usage

_MODULE_OF = {
    "AsyncInferenceClient": "async_client",
    "InferenceClient": "client",
    "AsyncChatStream": "streaming",
    "ChatStream": "streaming",
    "AnswerInterrupted": "errors",
    "ClientError": "errors",
    "GpunodeError": "errors",
    "NoNodeFound": "errors",
    "RequestRefused": "errors",
    "TrackerUnreachable": "errors",
    "VerificationFailed": "errors",
    "CallerInfo": "regions",
    "NetworkRegions": "regions",
    "RegionInfo": "regions",
    "CostTerms": "routing",
    "Limits": "routing",
    "RouteCandidate": "routing",
    "RouteExplanation": "routing",
    "ChatResult": "types",
    "Chunk": "types",
    "Route": "types",
    "Usage": "types",
}

__all__ = [
    "AnswerInterrupted",
    "AsyncChatStream",
    "AsyncInferenceClient",
    "CallerInfo",
    "ChatResult",
    "ChatStream",
    "Chunk",
    "ClientError",
    "CostTerms",
    "GpunodeError",
    "InferenceClient",
    "Limits",
    "NetworkRegions",
    "NoNodeFound",
    "RegionInfo",
    "RequestRefused",
    "Route",
    "RouteCandidate",
    "RouteExplanation",
    "TrackerUnreachable",
    "Usage",
    "VerificationFailed",
]


def __getattr__(name: str) -> object:
    """Load a public name from its module."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
