"""Parameters must fit into the request's frame; files do not count, they travel in frames of their own."""

from typing import Final

from gpunode_protocol.framing import MAX_FRAME_BYTES
from gpunode_protocol.payloads import Params
from gpunode_protocol.safe_msgpack import pack

from gpunode.errors import InvalidRequest

_REQUEST_OVERHEAD_BYTES: Final = 16_384
"""Room in the request's frame for everything but the parameters: the grant alone may have 8 KiB."""


def fits(params: Params, *beside: object) -> bool:
    """Return whether parameters fit, together with what else the request has."""
    size = len(pack(params.to_map())) + sum(len(pack(value)) for value in beside)
    return size <= MAX_FRAME_BYTES - _REQUEST_OVERHEAD_BYTES


def check_size(params: Params, what: str) -> None:
    """Refuse parameters that do not fit; ``what``: how the caller knows them, such as ``The messages``.

    Raises:
        InvalidRequest: with their size.
    """
    size = len(pack(params.to_map()))
    if size > MAX_FRAME_BYTES - _REQUEST_OVERHEAD_BYTES:
        raise InvalidRequest(f"{what} have {size} bytes; about 1 MiB can be sent. Shorten them.")
