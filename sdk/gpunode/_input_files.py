"""Reading a caller's input file, and never more of it than can be sent."""

from pathlib import Path
from typing import BinaryIO

from gpunode_protocol.payloads import MAX_BLOB_BYTES

from gpunode._refusals import not_valid
from gpunode.errors import InvalidRequest


def read_input(source: str | Path | bytes | BinaryIO, name: str) -> bytes:
    """Return the bytes of a path, of an open binary file, or as they are.

    Args:
        source: may be larger than memory, or without end.
        name: of the input, for messages.

    Raises:
        InvalidRequest: it cannot be read, gives text, or has more than ``MAX_BLOB_BYTES``; nothing was sent.
    """
    if isinstance(source, str | Path):
        try:
            with Path(source).open("rb") as file:
                data = file.read(MAX_BLOB_BYTES + 1)
        except OSError as error:
            raise InvalidRequest(f"The {name} {source} cannot be read: {error.strerror}.") from error
    else:
        data = _bytes_of(source, name)
    if len(data) > MAX_BLOB_BYTES:
        raise not_valid(f"the {name} has more than {MAX_BLOB_BYTES:,} bytes, the most that can be sent")
    return data


def _bytes_of(source: object, name: str) -> bytes:
    """Return bytes, or what an open file gives; a caller without a type checker may pass anything."""
    read = getattr(source, "read", None)
    try:
        data = source if read is None else read(MAX_BLOB_BYTES + 1)
    except (OSError, ValueError) as error:  # a closed file is a ValueError, and so is one of text that is no text
        raise InvalidRequest(f"The {name} cannot be read: {error}.") from error
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    raise not_valid(f"the {name} must be a path, bytes, or a file opened in binary mode ('rb')")
