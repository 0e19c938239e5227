"""The bytes of each token of a model, and back from bytes to tokens where llama.cpp withholds them."""

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from gpunode_engines.errors import InvalidParameters, UnreadableWeights
from gpunode_engines.gguf import GgufHeader

# enum llama_token_type: https://github.com/ggml-org/llama.cpp/blob/master/include/llama.h
_UNKNOWN = 2
_CONTROL = 3
_USER_DEFINED = 4
_BYTE = 6

_BYTE_TOKEN = re.compile(rb"<0x([0-9A-F]{2})>")

_SPACE_MARK = "\u2581".encode()
"""SentencePiece writes a space as this character."""


def _byte_of_character() -> dict[str, int]:
    """GPT-2's reversible map of bytes to printable characters, inverted.

    Source: ``bytes_to_unicode`` in https://github.com/openai/gpt-2/blob/master/src/encoder.py
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    rest = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + index): byte for index, byte in enumerate(rest)}


_BYTE_OF_CHARACTER = _byte_of_character()


def _byte_level(piece: bytes) -> bytes:
    """Return the bytes of a byte-level BPE piece; a piece outside the map stands for itself."""
    text = piece.decode(errors="replace")
    if any(character not in _BYTE_OF_CHARACTER for character in text):
        return piece
    return bytes(_BYTE_OF_CHARACTER[character] for character in text)


def _sentencepiece(piece: bytes) -> bytes:
    return piece.replace(_SPACE_MARK, b" ")


_DECODERS = {"gpt2": _byte_level, "llama": _sentencepiece}


VOCABULARY_KEYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.token_type")
"""What ``from_gguf`` needs of a header and is long there."""


class Vocabulary:
    """Token id to bytes. Control tokens have none."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = list(pieces)

    @classmethod
    def from_gguf(cls, header: GgufHeader) -> "Vocabulary":
        """Read the tokenizer of a model. header: with ``VOCABULARY_KEYS``.

        Raises:
            UnreadableWeights: no tokenizer, or one of a kind that is not supported.
        """
        kind = header.metadata.get("tokenizer.ggml.model")
        decode = _DECODERS.get(kind) if isinstance(kind, str) else None
        pieces, types = (header.metadata.get(name) for name in VOCABULARY_KEYS)
        if decode is None or not isinstance(pieces, list) or not isinstance(types, list):
            raise UnreadableWeights(f"The tokenizer {kind!r} of this model is not supported.")
        texts = (piece for piece in pieces if isinstance(piece, bytes))
        kinds = (token_type for token_type in types if isinstance(token_type, int))
        return cls(_piece(text, kind, decode(text)) for text, kind in zip(texts, kinds, strict=True))

    @classmethod
    def from_tokenizer(cls, tokenizer: Mapping[str, Any]) -> "Vocabulary":
        """Read the content of a ``tokenizer.json``, the format of the library tokenizers. Special tokens have no bytes.

        Raises:
            UnreadableWeights: a tokenizer of a kind that is not supported.
        """
        model, decoder = tokenizer.get("model"), tokenizer.get("decoder")
        if not isinstance(model, dict) or model.get("type") != "BPE" or not isinstance(model.get("vocab"), dict):
            raise UnreadableWeights("The tokenizer of this model is not supported; only byte-pair encoding is.")
        decode = _byte_level if "ByteLevel" in _decoder_types(decoder) else _sentencepiece_or_byte
        pieces = {number: decode(text.encode()) for text, number in model["vocab"].items()}
        for token in tokenizer.get("added_tokens") or ():
            pieces[token["id"]] = b"" if token["special"] else token["content"].encode()
        return cls(pieces.get(number, b"") for number in range(max(pieces, default=-1) + 1))

    def __len__(self) -> int:
        return len(self._pieces)

    def check(self, token_ids: Iterable[int]) -> None:
        """Refuse ids that no token has: a client may send any to resume from, and libraries cut them to 32 bits.

        Raises:
            InvalidParameters: there is one.
        """
        if not all(0 <= token_id < len(self._pieces) for token_id in token_ids):
            raise InvalidParameters("The request has token ids that are not in the model's vocabulary.")

    def piece(self, token_id: int) -> bytes:
        """Return the bytes of a token, b"" for an id outside the vocabulary."""
        return self._pieces[token_id] if 0 <= token_id < len(self._pieces) else b""

    def split(self, data: bytes, count: int) -> tuple[int, ...] | None:
        """Return ``count`` tokens that together are ``data``, none of them whole text; None if there are none.

        Where several ways exist, the one that takes the longest pieces first. In the vocabulary of SmolLM2 that is so
        for 64 characters (U+1F940 to U+1F97F, two tokens for F0 9F A5), where byte-pair merging prefers the same way.
        """
        if count == 0:
            return () if not data else None
        for length in range(len(data) - count + 1, 0, -1):
            token_id = self._partial_ids.get(data[:length])
            if token_id is not None and (rest := self.split(data[length:], count - 1)) is not None:
                return (token_id, *rest)
        return None

    @cached_property
    def _partial_ids(self) -> dict[bytes, int]:
        """Pieces that are not whole characters, to their lowest id."""
        partial: dict[bytes, int] = {}
        for token_id, piece in enumerate(self._pieces):
            if piece and not _is_text(piece):
                partial.setdefault(piece, token_id)
        return partial


def _decoder_types(decoder: Any) -> set[str]:
    """Return the types of a decoder and of its parts."""
    if not isinstance(decoder, dict):
        return set()
    parts = [decoder, *(part for part in decoder.get("decoders") or () if isinstance(part, dict))]
    return {str(part.get("type")) for part in parts}


def _sentencepiece_or_byte(piece: bytes) -> bytes:
    """Return the bytes of a SentencePiece token; ``<0x0A>`` stands for one byte."""
    found = _BYTE_TOKEN.fullmatch(piece)
    return bytes([int(found[1], 16)]) if found else _sentencepiece(piece)


def _piece(raw: bytes, token_type: int, decoded: bytes) -> bytes:
    if token_type in (_CONTROL, _UNKNOWN):
        return b""
    if token_type == _USER_DEFINED:
        return raw
    if token_type == _BYTE:
        return bytes([int(raw.strip(b"<>"), 16)])
    return decoded


def _is_text(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True
