import struct
from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.gguf import GgufHeader, read_gguf_header


def text(value: str) -> bytes:
    """Encode a GGUF string."""
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value_type: int, value: bytes) -> bytes:
    """Encode a key with its value."""
    return text(key) + struct.pack("<I", value_type) + value


def gguf(*pairs: bytes, version: int = 3) -> bytes:
    """Encode a header without tensors."""
    return b"GGUF" + struct.pack("<IQQ", version, 0, len(pairs)) + b"".join(pairs)


def write(folder: Path, data: bytes) -> Path:
    """Write a file."""
    path = folder / "model.gguf"
    path.write_bytes(data)
    return path


def test_values_of_all_kinds_are_read(tmp_path: Path) -> None:
    """Numbers, texts and arrays; array texts stay bytes."""
    path = write(
        tmp_path,
        gguf(
            pair("name", 8, text("tiny")),
            pair("count", 4, struct.pack("<I", 7)),
            pair("flag", 7, b"\x01"),
            pair("ratio", 6, struct.pack("<f", 0.5)),
            pair("words", 9, struct.pack("<IQ", 8, 2) + text("a") + text("é")),
            pair("numbers", 9, struct.pack("<IQii", 5, 2, -1, 2)),
        ),
    )
    assert read_gguf_header(path).metadata == {
        "name": "tiny",
        "count": 7,
        "flag": True,
        "ratio": 0.5,
        "words": [b"a", "é".encode()],
        "numbers": [-1, 2],
    }


def test_the_real_model_is_understood(smollm2_path: Path) -> None:
    """Type, context and cache size come from the file."""
    header = read_gguf_header(smollm2_path)
    assert (header.architecture, header.quantisation, header.trained_context_tokens) == ("llama", "Q4_1", 8192)
    assert header.kv_bytes_per_token() == 2 * 2 * 30 * 3 * 64


def test_unknown_types_of_weights_keep_their_number() -> None:
    """A new quantisation is named, not guessed."""
    assert GgufHeader({"general.file_type": 99}).quantisation == "ftype-99"
    assert GgufHeader({}).quantisation == "unknown"


def test_values_per_layer_give_their_largest() -> None:
    """Some models have another number of heads in each layer."""
    header = GgufHeader(
        {
            "general.architecture": "x",
            "x.attention.head_count": [4, 8],
            "x.attention.head_count_kv": [2, 4],
            "x.embedding_length": 64,
            "x.block_count": 2,
        }
    )
    assert header.kv_bytes_per_token() == 2 * 2 * 2 * 4 * 8


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"GGUF",
        gguf(version=1),
        gguf(pair("a", 99, b"")),
        gguf(pair("a", 8, struct.pack("<Q", 2**60))),
        gguf(pair("a", 9, struct.pack("<IQ", 8, 2**60))),
        gguf(pair("a", 8, struct.pack("<Q", 10) + b"short")),
        gguf(pair("a", 9, struct.pack("<IQ", 9, 1))),
        gguf(pair("name", 8, text("tiny")))[:-2],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Neither a crash nor gigabytes of memory."""
    with pytest.raises(UnreadableWeights):
        read_gguf_header(write(tmp_path, data))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The message has the path."""
    with pytest.raises(UnreadableWeights, match=r"absent\.gguf"):
        read_gguf_header(tmp_path / "absent.gguf")


def test_missing_fields_are_refused() -> None:
    """A file without architecture or sizes is no language model."""
    with pytest.raises(UnreadableWeights, match="architecture"):
        _ = GgufHeader({}).trained_context_tokens
    with pytest.raises(UnreadableWeights, match="context_length"):
        _ = GgufHeader({"general.architecture": "x"}).trained_context_tokens
    with pytest.raises(UnreadableWeights, match="context_length"):
        _ = GgufHeader({"general.architecture": "x", "x.context_length": 2**64 - 1}).trained_context_tokens
