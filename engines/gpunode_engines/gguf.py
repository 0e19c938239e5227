"""Reading the header of a GGUF file: metadata only, no tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import os
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpunode_engines.errors import UnreadableWeights

_MAGIC = b"GGUF"
_SUPPORTED_VERSIONS = (2, 3)
_MAX_PAIRS = 1_000
_MAX_KEY_BYTES = 2**16 - 1  # the format's own limit
_MAX_HEADER_BYTES = 128 * 1024 * 1024
_MAX_TEXTS = 2 * 1024 * 1024
"""In arrays. A vocabulary of 262,144 tokens and the pairs that it merges have half as many, in 20 MB."""

_LENGTH_BYTES = 8
_PIECE_BYTES = 256 * 1024

_LONG_TEXT_BYTES = 4096
_LONG_ARRAY_ITEMS = 1024
"""What a node asks of a model are names and numbers, or one number for each layer."""

_TYPE_UINT32 = 4
_TYPE_UINT64 = 10
_TYPE_STRING = 8
_TYPE_ARRAY = 9
_SCALAR_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_SCALARS: dict[int, struct.Struct] = {number: struct.Struct(f"<{code}") for number, code in _SCALAR_CODES.items()}

# enum llama_ftype: https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h
_FILE_TYPES: dict[int, str] = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    32: "BF16",
}

MAX_NUMBER = 2**32 - 1
"""Of layers, heads, their sizes and tokens: the format has 32 bits for each. Larger ones in a file are no model's."""

Scalar = int | float | bool | str | bytes
Value = Scalar | list[Scalar]

_KV_BYTES_PER_ELEMENT = 2
"""llama.cpp keeps keys and values as 16-bit floats unless told otherwise."""


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Metadata of one file; texts of arrays are bytes, because token pieces need not be UTF-8."""

    metadata: dict[str, Value]

    @property
    def architecture(self) -> str:
        """Family name, the prefix of the model's own keys."""
        return self._text("general.architecture")

    @property
    def quantisation(self) -> str:
        """Name of the weights' type, such as ``Q4_K_M``; unknown numbers give ``ftype-N``."""
        number = self.metadata.get("general.file_type")
        return _FILE_TYPES.get(number, f"ftype-{number}") if isinstance(number, int) else "unknown"

    @property
    def trained_context_tokens(self) -> int:
        """Longest context that the model was trained for."""
        return self._number("context_length")

    def kv_bytes_per_token(self) -> int:
        """Return what one token occupies in the key-value cache, bytes."""
        heads = self._number("attention.head_count")
        kv_heads = self._number("attention.head_count_kv", heads)
        head_size = self._number("attention.key_length", self._number("embedding_length") // heads)
        return 2 * _KV_BYTES_PER_ELEMENT * self._number("block_count") * kv_heads * head_size

    def _text(self, key: str) -> str:
        value = self.metadata.get(key)
        if not isinstance(value, str):
            raise UnreadableWeights(f"The model file has no {key}. Delete it and pull the model again.")
        return value

    def _number(self, key: str, default: int | None = None) -> int:
        """Return an integer of the architecture; some store one per layer, of which the largest counts."""
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if isinstance(value, list):
            value = max((item for item in value if isinstance(item, int)), default=None)
        if not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
            raise UnreadableWeights(f"The model file has no usable {key}. Delete it and pull the model again.")
        return value


def read_gguf_header(path: Path, long_values: Collection[str] = ()) -> GgufHeader:
    """Read the metadata of a GGUF file; of texts and arrays that are long, as a vocabulary is, only those named.

    Strangers write such files, and the node's own process reads them: what is skipped takes no memory, and there is
    not more to go through than the largest vocabularies have twice.

    Raises:
        UnreadableWeights: no such file, another format, or a damaged header.
    """
    try:
        with path.open("rb") as file:
            return GgufHeader(_Reader(file, long_values).metadata())
    except OSError as error:
        raise UnreadableWeights(f"The model file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, struct.error) as error:
        raise UnreadableWeights(f"{path} is not a usable GGUF file: {error}.") from error


class _Reader:
    """Goes through one header, once."""

    def __init__(self, file: BinaryIO, long_values: Collection[str]) -> None:
        self._file = file
        self._long_values = long_values
        self._left_bytes = min(_MAX_HEADER_BYTES, os.fstat(file.fileno()).st_size)
        self._left_texts = _MAX_TEXTS

    def metadata(self) -> dict[str, Value]:
        """Return the pairs, without those that are too long."""
        if self._take(len(_MAGIC)) != _MAGIC:
            raise ValueError("it does not begin with GGUF")
        version = self._scalar(_TYPE_UINT32)
        if version not in _SUPPORTED_VERSIONS:
            raise ValueError(f"version {version} is not supported")
        self._scalar(_TYPE_UINT64)  # number of tensors
        metadata: dict[str, Value] = {}
        for _ in range(self._length(_MAX_PAIRS)):
            key = self._take(self._length(_MAX_KEY_BYTES)).decode()
            value = self._value(key)
            if value is not None:
                metadata[key] = value
        return metadata

    def _value(self, key: str) -> Value | None:
        """Return a value; None if it was too long."""
        value_type = int(self._scalar(_TYPE_UINT32))
        if value_type == _TYPE_STRING:
            return self._text(key)
        if value_type == _TYPE_ARRAY:
            return self._array(key)
        return self._scalar(value_type)

    def _text(self, key: str) -> str | None:
        length = self._length(self._left_bytes)
        if length > _LONG_TEXT_BYTES and key not in self._long_values:
            self._skip(length)
            return None
        return self._take(length).decode(errors="replace")

    def _array(self, key: str) -> list[Scalar] | None:
        item_type = int(self._scalar(_TYPE_UINT32))
        count = self._length(self._left_bytes)
        is_kept = count <= _LONG_ARRAY_ITEMS or key in self._long_values
        if item_type == _TYPE_STRING:
            return self._texts(count, is_kept=is_kept)
        layout = _layout(item_type)
        if not is_kept:
            self._skip(count * layout.size)
            return None
        data = self._take(count * layout.size)
        return [value for (value,) in layout.iter_unpack(data)]

    def _texts(self, count: int, *, is_kept: bool) -> list[Scalar] | None:
        self._left_texts -= count
        if self._left_texts < 0:
            raise ValueError(f"it has more than {_MAX_TEXTS} texts")
        if is_kept:
            return [self._take(self._length(self._left_bytes)) for _ in range(count)]
        self._skip_texts(count)
        return None

    def _skip_texts(self, count: int) -> None:
        """Go on after texts, a piece of the file at a time: a call for each would keep the node busy for seconds."""
        while count:
            start = self._file.tell()
            piece = self._file.read(_PIECE_BYTES)
            at = 0
            while count and at + _LENGTH_BYTES <= len(piece):
                at += _LENGTH_BYTES + int.from_bytes(piece[at : at + _LENGTH_BYTES], "little")
                count -= 1
            if not at:
                raise ValueError("the file ends too early")
            self._spend(at)
            self._file.seek(start + at)

    def _scalar(self, value_type: int) -> int | float | bool:
        layout = _layout(value_type)
        (value,) = layout.unpack(self._take(layout.size))
        if not isinstance(value, int | float | bool):
            raise ValueError("a number was expected")  # noqa: TRY004 -- one error type for everything unreadable
        return value

    def _length(self, most: int) -> int:
        length = int(self._scalar(_TYPE_UINT64))
        if length > most:
            raise ValueError(f"a length of {length} is beyond the limit of {most}")
        return length

    def _take(self, length: int) -> bytes:
        self._spend(length)
        data = self._file.read(length)
        if len(data) < length:
            raise ValueError("the file ends too early")
        return data

    def _skip(self, length: int) -> None:
        self._spend(length)
        self._file.seek(length, os.SEEK_CUR)

    def _spend(self, length: int) -> None:
        if length > self._left_bytes:
            raise ValueError(f"the file ends too early, or its header is longer than {_MAX_HEADER_BYTES} bytes")
        self._left_bytes -= length


def _layout(value_type: int) -> struct.Struct:
    layout = _SCALARS.get(value_type)
    if layout is None:
        raise ValueError(f"value type {value_type} is unknown")
    return layout
