import json
from pathlib import Path

import pytest
from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.safetensors_model import is_checkpoint, read_checkpoint_config

# From the config.json of Qwen2.5-0.5B-Instruct.
QWEN = {
    "max_position_embeddings": 32_768,
    "hidden_size": 896,
    "num_attention_heads": 14,
    "num_hidden_layers": 24,
    "num_key_value_heads": 2,
    "torch_dtype": "bfloat16",
}


def checkpoint(folder: Path, config: object = QWEN, *names: str) -> list[Path]:
    """Write a checkpoint without weights and return its files."""
    (folder / "config.json").write_text(json.dumps(config))
    for name in names or ("model.safetensors",):
        (folder / name).write_bytes(b"")
    return sorted(folder.iterdir())


def test_the_config_tells_context_type_and_cache(tmp_path: Path) -> None:
    """Two kv heads of 64 numbers in 24 layers, keys and values, of 2 bytes: as the catalogue says."""
    config = read_checkpoint_config(checkpoint(tmp_path))
    assert (config.trained_context_tokens, config.dtype, config.element_bytes()) == (32_768, "bfloat16", 2)
    assert config.kv_bytes_per_token(2) == 12_288


def test_newer_names_and_defaults_are_understood(tmp_path: Path) -> None:
    """dtype took torch_dtype's place; without kv heads, each head has its own; null means absent."""
    config = QWEN | {"dtype": "float16", "head_dim": None, "num_key_value_heads": None}
    read = read_checkpoint_config(checkpoint(tmp_path, config))
    assert read.dtype == "float16"
    assert read.kv_bytes_per_token(1) == 2 * 24 * 14 * 64


def test_pickles_beside_safetensors_are_refused(tmp_path: Path) -> None:
    """Nobody can tell which of them a library would take."""
    with pytest.raises(UnreadableWeights, match="never opened"):
        read_checkpoint_config(checkpoint(tmp_path, QWEN, "pytorch_model.bin", "model.safetensors"))


def test_shards_must_lie_beside_the_index(tmp_path: Path) -> None:
    """An index cannot lead out of the folder."""
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors", "b": "../two.safetensors"}}))
    paths = checkpoint(tmp_path, QWEN, "one.safetensors")
    with pytest.raises(UnreadableWeights, match="not beside it"):
        read_checkpoint_config(paths)
    index.write_text(json.dumps({"weight_map": {"a": "one.safetensors"}}))
    assert read_checkpoint_config(paths).dtype == "bfloat16"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ([], "no JSON object"),
        ({"max_position_embeddings": "many"}, "no usable max_position_embeddings"),
        ({"max_position_embeddings": 10**4000}, "no usable max_position_embeddings"),
    ],
)
def test_a_damaged_config_is_reported(tmp_path: Path, config: object, words: str) -> None:
    """The message names what is missing."""
    with pytest.raises(UnreadableWeights, match=words):
        assert read_checkpoint_config(checkpoint(tmp_path, config)).trained_context_tokens


def test_what_is_missing_is_reported(tmp_path: Path) -> None:
    """Weights, config, readable JSON."""
    with pytest.raises(UnreadableWeights, match="no safetensors file"):
        read_checkpoint_config(checkpoint(tmp_path, QWEN, "merges.txt"))
    with pytest.raises(UnreadableWeights, match=r"no config\.json"):
        read_checkpoint_config([tmp_path / "model.safetensors"])
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UnreadableWeights, match="not a usable JSON file"):
        read_checkpoint_config([tmp_path / "model.safetensors", tmp_path / "config.json"])
    with pytest.raises(UnreadableWeights, match="cannot be read"):
        read_checkpoint_config([tmp_path / "model.safetensors", tmp_path / "gone" / "config.json"])


def test_the_config_tells_the_format(tmp_path: Path) -> None:
    """A GGUF model is one file or several parts, without config."""
    assert is_checkpoint(checkpoint(tmp_path))
    assert not is_checkpoint([tmp_path / "model.gguf"])
