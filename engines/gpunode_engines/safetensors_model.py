"""What the parent knows of a safetensors checkpoint: its files and its ``config.json``. No tensors are read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.gguf import MAX_NUMBER
from gpunode_engines.json_object import read_object
from gpunode_engines.pickles import refuse_pickles

WEIGHTS_SUFFIX = ".safetensors"
CHECKPOINT_PATTERNS = (f"*{WEIGHTS_SUFFIX}", "*.json", "*.jinja", "merges.txt", "vocab.txt")
"""Weights, config, tokenizer and chat template: all that shapes an answer."""

_ELEMENT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class CheckpointConfig:
    """The content of ``config.json``."""

    content: dict[str, Any]

    @property
    def dtype(self) -> str:
        """Type of the weights, such as ``bfloat16``; ``float32`` where the file does not say."""
        return str(self.content.get("dtype") or self.content.get("torch_dtype") or "float32")

    @property
    def trained_context_tokens(self) -> int:
        """Longest context that the model was trained for."""
        return self._number("max_position_embeddings")

    def kv_bytes_per_token(self, element_bytes: int) -> int:
        """Return what one token occupies in the key-value cache, bytes."""
        heads = self._number("num_attention_heads")
        kv_heads = self._number("num_key_value_heads", heads)
        head_size = self._number("head_dim", self._number("hidden_size") // heads)
        return 2 * element_bytes * self._number("num_hidden_layers") * kv_heads * head_size

    def element_bytes(self) -> int:
        """Return the size of one weight, bytes."""
        return _ELEMENT_BYTES.get(self.dtype, _ELEMENT_BYTES["float32"])

    def _number(self, key: str, default: int | None = None) -> int:
        value = self.content.get(key, default)
        if value is None:
            value = default
        if not isinstance(value, int) or not 1 <= value <= MAX_NUMBER:
            raise UnreadableWeights(f"The model's config.json has no usable {key}. Delete it and pull the model again.")
        return value


def is_checkpoint(paths: Sequence[Path]) -> bool:
    """Whether these files are a safetensors checkpoint, not a GGUF model."""
    return any(path.name == "config.json" for path in paths)


def read_checkpoint_config(paths: Sequence[Path]) -> CheckpointConfig:
    """Read the config of a checkpoint and check that its files are what they seem.

    Raises:
        UnreadableWeights: pickles, no weights, shards outside of these files, or no usable ``config.json``.
    """
    refuse_pickles(paths)
    named = {path.name: path for path in paths}
    if not any(path.suffix == WEIGHTS_SUFFIX for path in paths):
        raise UnreadableWeights("The checkpoint has no safetensors file. Delete it and pull the model again.")
    index = named.get(f"model{WEIGHTS_SUFFIX}.index.json")
    if index is not None:
        shards = read_object(index).get("weight_map")
        if not isinstance(shards, dict) or not {str(shard) for shard in shards.values()} <= named.keys():
            raise UnreadableWeights(f"{index} names weights that are not beside it. Pull the model again.")
    if "config.json" not in named:
        raise UnreadableWeights("The checkpoint has no config.json. Delete it and pull the model again.")
    return CheckpointConfig(read_object(named["config.json"]))
