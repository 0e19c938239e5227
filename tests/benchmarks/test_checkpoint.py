import json
from pathlib import Path

import pytest
from gpunode_benchmarks.checkpoint import write_checkpoint
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.vocabulary import VOCABULARY_KEYS, Vocabulary
from safetensors import safe_open


@pytest.fixture(scope="module")
def folder(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The converted model."""
    return write_checkpoint(smollm2_path, tmp_path_factory.mktemp("checkpoint"))


@pytest.mark.full
def test_every_tensor_has_its_place(folder: Path) -> None:
    """Nine weights for each of 30 layers, the embeddings (the output's too) and the last norm."""
    with safe_open(folder / "model.safetensors", framework="np") as weights:
        names = list(weights.keys())
        assert len(names) == 30 * 9 + 2
        assert weights.get_slice("model.layers.0.self_attn.k_proj.weight").get_shape() == [192, 576]
        assert weights.get_slice("model.embed_tokens.weight").get_dtype() == "F16"


@pytest.mark.full
def test_the_tokenizer_has_the_same_bytes(folder: Path, smollm2_path: Path) -> None:
    """Token by token, control tokens without any."""
    converted = Vocabulary.from_tokenizer(json.loads((folder / "tokenizer.json").read_text()))
    original = Vocabulary.from_gguf(read_gguf_header(smollm2_path, VOCABULARY_KEYS))
    assert len(converted) == len(original) == 49_152
    assert all(converted.piece(number) == original.piece(number) for number in range(49_152))


def test_it_tokenises_as_llama_cpp_does(folder: Path) -> None:
    """Ids that llama.cpp gives for the same text: digits one by one, control tokens whole."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    text = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    assert tokenizer.encode(text).ids == [1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198]
    assert len(tokenizer.encode("1234").ids) == 4


def test_another_family_is_refused(tmp_path: Path) -> None:
    """Its tensors would be put in the wrong places."""
    path = tmp_path / "other.gguf"
    pairs = b"\x14\0\0\0\0\0\0\0general.architecture\x08\0\0\0\x04\0\0\0\0\0\0\0bert"
    path.write_bytes(b"GGUF\x03\0\0\0" + bytes(8) + b"\x01\0\0\0\0\0\0\0" + pairs)
    with pytest.raises(BenchmarkFailed, match=r"other\.gguf is no SmolLM model"):
        write_checkpoint(path, tmp_path / "out")
