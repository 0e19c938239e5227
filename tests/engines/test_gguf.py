import os
import struct
import tracemalloc
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
        gguf(pair("a", 9, struct.pack("<IQ", 9, 1) + struct.pack("<IQ", 9, 1) * 1_000)),
        gguf(pair("a", 9, struct.pack("<IQ", 8, 2**62))),
        gguf(pair("a", 9, struct.pack("<IQ", 12, 2**62))),
        gguf(pair("a", 8, struct.pack("<Q", 2**62))),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**62),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**62),
        gguf(pair("name", 8, text("tiny")))[:-2],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Neither a crash nor gigabytes of memory."""
    with pytest.raises(UnreadableWeights):
        read_gguf_header(write(tmp_path, data))


ZEROS = 100 * 1024**2
"""Bytes of a hole in a file, which takes no room."""


def write_long(folder: Path, key: str, value_type: int, head: bytes, *rest: bytes) -> Path:
    """Write a file whose first value has ``ZEROS`` after its head."""
    path = write(folder, b"GGUF" + struct.pack("<IQQ", 3, 0, 1 + len(rest)) + pair(key, value_type, head))
    with path.open("r+b") as file:
        file.seek(ZEROS, os.SEEK_END)
        file.write(b"".join(rest) or b"\x00")
    return path


@pytest.mark.parametrize(
    ("value_type", "head"),
    [(8, struct.pack("<Q", ZEROS)), (9, struct.pack("<IQ", 0, ZEROS)), (9, struct.pack("<IQ", 12, ZEROS // 8))],
    ids=["text", "bytes", "doubles"],
)
def test_what_is_long_takes_no_memory(tmp_path: Path, value_type: int, head: bytes) -> None:
    """It is passed over; what comes after it is read."""
    path = write_long(tmp_path, "long", value_type, head, pair("count", 4, struct.pack("<I", 7)))
    tracemalloc.start()
    header = read_gguf_header(path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert header.metadata == {"count": 7}
    assert peak_bytes < 1024**2


def test_long_arrays_are_read_where_they_are_asked_for(tmp_path: Path) -> None:
    """A vocabulary is one."""
    words = pair("words", 9, struct.pack("<IQ", 8, 5_000) + text("a") * 5_000)
    path = write(tmp_path, gguf(words, words.replace(b"words", b"other")))
    assert read_gguf_header(path).metadata == {}
    assert read_gguf_header(path, ["words"]).metadata == {"words": [b"a"] * 5_000}


def test_long_arrays_of_texts_are_passed_over(tmp_path: Path) -> None:
    """Of texts that end within the pieces in which the file is read, and of longer ones; a cut-off one is refused."""
    texts = [text("a" * size) for size in (300_000, 0, 7, 600_000, *range(2_000))]
    words = pair("words", 9, struct.pack("<IQ", 8, len(texts)) + b"".join(texts))
    path = write(tmp_path, gguf(words, pair("count", 4, struct.pack("<I", 7))))
    assert read_gguf_header(path).metadata == {"count": 7}
    with pytest.raises(UnreadableWeights, match="ends too early"):
        read_gguf_header(write(tmp_path, gguf(words)[:-1]))


def test_texts_are_counted_over_all_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes a step, so many small arrays would keep the node as busy as a large one."""
    monkeypatch.setattr("gpunode_engines.gguf._MAX_TEXTS", 5)
    words = pair("words", 9, struct.pack("<IQ", 8, 3) + text("a") * 3)
    assert read_gguf_header(write(tmp_path, gguf(words))).metadata["words"] == [b"a"] * 3
    with pytest.raises(UnreadableWeights, match="more than 5 texts"):
        read_gguf_header(write(tmp_path, gguf(words, words)))


def test_a_header_without_end_is_refused(tmp_path: Path) -> None:
    """However long the file is: it is mostly weights."""
    path = write_long(tmp_path, "long", 9, struct.pack("<IQ", 12, 2 * ZEROS // 8), bytes(1))
    os.truncate(path, 2**40)
    with pytest.raises(UnreadableWeights, match="longer than 134217728 bytes"):
        read_gguf_header(path)


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
