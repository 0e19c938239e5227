from pathlib import Path

import pytest
from gpunode_engines.errors import InvalidParameters, UnreadableWeights
from gpunode_engines.gguf import GgufHeader, read_gguf_header
from gpunode_engines.vocabulary import VOCABULARY_KEYS, Vocabulary


def header(kind: str, tokens: list[str], types: list[int]) -> GgufHeader:
    """Return a header with a tokenizer."""
    return GgufHeader(
        {
            "tokenizer.ggml.model": kind,
            "tokenizer.ggml.tokens": [token.encode() for token in tokens],
            "tokenizer.ggml.token_type": list(types),
        }
    )


def test_byte_level_pieces_are_decoded() -> None:
    """GPT-2 writes a space as Ġ and each byte as one character; control tokens have no bytes."""
    vocabulary = Vocabulary.from_gguf(header("gpt2", ["<|im_end|>", "Ġhi", "Ã©", "ð", "<tool>"], [3, 1, 1, 1, 4]))
    assert [vocabulary.piece(token_id) for token_id in range(5)] == [b"", b" hi", "é".encode(), b"\xf0", b"<tool>"]


def test_sentencepiece_pieces_are_decoded() -> None:
    """The Llama family writes a space as U+2581 and bytes as <0xNN>."""
    vocabulary = Vocabulary.from_gguf(header("llama", ["<s>", "\u2581hi", "<0xF0>", "<unk>"], [3, 1, 6, 2]))
    assert [vocabulary.piece(token_id) for token_id in range(4)] == [b"", b" hi", b"\xf0", b""]


@pytest.mark.parametrize("token_id", [-1, 1])
def test_ids_outside_the_vocabulary_have_no_bytes(token_id: int) -> None:
    """A client may send any id to resume from."""
    assert Vocabulary([b"a"]).piece(token_id) == b""


@pytest.mark.parametrize("token_id", [-1, 1, 2**32, 2**40])
def test_ids_outside_the_vocabulary_are_refused(token_id: int) -> None:
    """Those within it are not."""
    vocabulary = Vocabulary([b"a"])
    vocabulary.check((0, 0))
    with pytest.raises(InvalidParameters, match="vocabulary"):
        vocabulary.check((0, token_id))


def test_bytes_are_split_into_tokens() -> None:
    """Only tokens that are no text by themselves, in exactly the asked number."""
    vocabulary = Vocabulary([b"\xf0", b"\x9f", b"\xf0\x9f", b"\x8e", b"a"])
    assert vocabulary.split(b"\xf0\x9f\x8e", 2) == (2, 3)
    assert vocabulary.split(b"\xf0\x9f\x8e", 3) == (0, 1, 3)
    assert vocabulary.split(b"\xf0\x9f\x8e", 1) is None
    assert vocabulary.split(b"a", 1) is None
    assert vocabulary.split(b"", 0) == ()
    assert vocabulary.split(b"", 1) is None


def test_unsupported_tokenizers_are_named() -> None:
    """Better no answer than wrong ids."""
    with pytest.raises(UnreadableWeights, match="'bert'"):
        Vocabulary.from_gguf(header("bert", ["a"], [1]))


def test_a_file_without_tokenizer_is_refused() -> None:
    """Not every GGUF file is a language model."""
    with pytest.raises(UnreadableWeights):
        Vocabulary.from_gguf(GgufHeader({}))


def test_the_real_vocabulary_covers_all_bytes(smollm2_path: Path) -> None:
    """Every byte that a character can need is in the model's vocabulary, so that any character can be split."""
    vocabulary = Vocabulary.from_gguf(read_gguf_header(smollm2_path, VOCABULARY_KEYS))
    assert len(vocabulary) == 49_152
    for character in "🎉🦙日é":
        data = character.encode()
        assert vocabulary.split(data, len(data)) is not None


def test_a_tokenizer_file_of_bytes_is_read() -> None:
    """Byte-level pieces; special tokens have no bytes, other added ones stand for themselves; gaps are empty."""
    vocabulary = Vocabulary.from_tokenizer(
        {
            "model": {"type": "BPE", "vocab": {"\u0120a": 0, "\u00f0\u0141": 1, "<|end|>": 2}},
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}]},
            "added_tokens": [
                {"id": 2, "content": "<|end|>", "special": True},
                {"id": 4, "content": "<think>", "special": False},
            ],
        }
    )
    assert [vocabulary.piece(number) for number in range(len(vocabulary))] == [b" a", b"\xf0\x9f", b"", b"", b"<think>"]


def test_a_tokenizer_file_of_sentencepiece_is_read() -> None:
    """A mark for the space, and tokens for single bytes."""
    vocabulary = Vocabulary.from_tokenizer(
        {
            "model": {"type": "BPE", "vocab": {"\u2581a": 0, "<0x0A>": 1}},
            "decoder": {"type": "Sequence", "decoders": [{"type": "Replace"}, {"type": "ByteFallback"}]},
        }
    )
    assert (vocabulary.piece(0), vocabulary.piece(1)) == (b" a", b"\n")


@pytest.mark.parametrize("content", [{}, {"model": {"type": "Unigram", "vocab": []}}])
def test_other_tokenizer_files_are_refused(content: dict[str, object]) -> None:
    """Rather than to give wrong bytes."""
    with pytest.raises(UnreadableWeights, match="only byte-pair encoding"):
        Vocabulary.from_tokenizer(content)
