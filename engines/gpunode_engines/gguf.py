"""Reading the header of a GGUF file: metadata only, no tensors.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpunode_engines.errors import UnreadableWeights

_MAGIC = b"GGUF"
_SUPPORTED_VERSIONS = (2, 3)
_MAX_PAIRS = 100_000
_MAX_STRING_BYTES = 16 * 1024 * 1024
_MAX_ARRAY_ITEMS = 16 * 1024 * 1024

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


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the metadata of a GGUF file.

    Raises:
        UnreadableWeights: no such file, another format, or a damaged header.
    """
    try:
        with path.open("rb") as file:
            return GgufHeader(_read_metadata(file))
    except OSError as error:
        raise UnreadableWeights(f"The model file {path} cannot be read: {error.strerror}.") from error
    except (ValueError, struct.error) as error:
        raise UnreadableWeights(f"{path} is not a usable GGUF file: {error}.") from error


def _read_metadata(file: BinaryIO) -> dict[str, Value]:
    if file.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it does not begin with GGUF")
    version = _read_scalar(file, 4)
    if version not in _SUPPORTED_VERSIONS:
        raise ValueError(f"version {version} is not supported")
    _read_scalar(file, 10)  # number of tensors
    pairs = _bounded(file, _MAX_PAIRS)
    metadata: dict[str, Value] = {}
    for _ in range(pairs):
        key = _read_bytes(file).decode()
        metadata[key] = _read_value(file)
    return metadata


def _read_value(file: BinaryIO) -> Value:
    value_type = int(_read_scalar(file, 4))
    if value_type == _TYPE_STRING:
        return _read_bytes(file).decode(errors="replace")
    if value_type != _TYPE_ARRAY:
        return _read_scalar(file, value_type)
    item_type = int(_read_scalar(file, 4))
    count = _bounded(file, _MAX_ARRAY_ITEMS)
    if item_type == _TYPE_STRING:
        return [_read_bytes(file) for _ in range(count)]
    return [_read_scalar(file, item_type) for _ in range(count)]


def _read_scalar(file: BinaryIO, value_type: int) -> int | float | bool:
    layout = _SCALARS.get(value_type)
    if layout is None:
        raise ValueError(f"value type {value_type} is unknown")
    (value,) = layout.unpack(file.read(layout.size))
    if not isinstance(value, int | float | bool):
        raise ValueError("a number was expected")  # noqa: TRY004 -- one error type for everything unreadable
    return value


def _bounded(file: BinaryIO, limit: int) -> int:
    count = int(_read_scalar(file, 10))
    if count > limit:
        raise ValueError(f"a length of {count} is beyond the limit of {limit}")
    return count


def _read_bytes(file: BinaryIO) -> bytes:
    length = _bounded(file, _MAX_STRING_BYTES)
    data = file.read(length)
    if len(data) < length:
        raise ValueError("the file ends too early")
    return data
