"""What a model's own files say of it before it is loaded, by the kind of its weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.gguf import read_gguf_header

_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit: https://github.com/huggingface/safetensors#format"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """quantisation: type of most weights. context_tokens: that the model was trained for, 0 = it has none.

    kv_bytes_per_token: what one token takes in the caches of one job.
    """

    quantisation: str
    context_tokens: int = 0
    kv_bytes_per_token: int = 0


def read_facts(root: Path, files: tuple[Path, ...]) -> ModelFacts:
    """Read the headers of a model's files; its weights stay on the disk.

    Args:
        root: the model's folder. files: its files, in order.

    Raises:
        UnreadableWeights: no weights of a kind that is served, or they are damaged.
    """
    by_suffix = {path.suffix: path for path in reversed(files)}
    if (gguf := by_suffix.get(".gguf")) is not None:
        header = read_gguf_header(gguf)
        return ModelFacts(
            quantisation=header.quantisation,
            context_tokens=header.trained_context_tokens,
            kv_bytes_per_token=header.kv_bytes_per_token(),
        )
    if (weights := by_suffix.get(".safetensors")) is not None:
        config = _read_json(root / "config.json") if (root / "config.json") in files else {}
        return ModelFacts(
            quantisation=_main_dtype(read_safetensors_header(weights)),
            context_tokens=int(config.get("max_position_embeddings", 0)),
        )
    if (root / "model.bin") in files:
        return ModelFacts(quantisation="ctranslate2")
    raise UnreadableWeights(
        f"{root.name} has no weights that can be served: GGUF, safetensors or CTranslate2 files. Pickled weights "
        "(.bin, .pt, .ckpt) can run code of their author and are refused."
    )


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: tensor names to dtype, shape and place.

    Raises:
        UnreadableWeights: it is not one.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size):
                raise UnreadableWeights(f"{path.name} is no safetensors file. Delete it and pull the model again.")
            header: dict[str, Any] = json.loads(file.read(length))
    except (OSError, ValueError) as error:
        raise UnreadableWeights(
            f"{path.name} cannot be read ({type(error).__name__}); pull the model again."
        ) from error
    return header


def _main_dtype(header: dict[str, Any]) -> str:
    sizes: dict[str, int] = {}
    for name, tensor in header.items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - start
    return max(sizes, key=sizes.__getitem__, default="none")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UnreadableWeights(
            f"{path.name} cannot be read ({type(error).__name__}); pull the model again."
        ) from error
    return content if isinstance(content, dict) else {}
