"""What the files of a model of images, speech or embeddings say of it before it is loaded."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.model_facts import ModelFacts
from gpunode_engines.safetensors_model import WEIGHTS_SUFFIX

_CTRANSLATE2_WEIGHTS = "model.bin"
"""CTranslate2's own format, whatever the suffix says elsewhere: https://opennmt.net/CTranslate2/conversion.html"""

_HEADER_LENGTH_BYTES = 8
_MAX_HEADER_BYTES = 100_000_000
"""The format's own limit: https://github.com/huggingface/safetensors#format"""


def read_media_facts(root: Path, files: Sequence[Path]) -> ModelFacts:
    """Read the headers of a model's files; its weights stay on the disk.

    Args:
        root: the model's folder. files: its files, in order.

    Raises:
        UnreadableWeights: no weights of a kind that is served, or they are damaged.
    """
    weights = [path for path in files if path.suffix == WEIGHTS_SUFFIX]
    if weights:
        config = _read_json(root / "config.json") if (root / "config.json") in files else {}
        return _facts(weights, _main_dtype(read_safetensors_header(weights[0])), config)
    if (root / _CTRANSLATE2_WEIGHTS) in files:
        return _facts([root / _CTRANSLATE2_WEIGHTS], "ctranslate2", {})
    raise UnreadableWeights(
        f"{root.name} has no weights that can be served: safetensors or CTranslate2 files. Pickled weights "
        "(.bin, .pt, .ckpt) can run code of their author and are refused."
    )


def _facts(weights: Sequence[Path], quantisation: str, config: dict[str, Any]) -> ModelFacts:
    return ModelFacts(
        quantisation=quantisation,
        trained_context_tokens=int(config.get("max_position_embeddings", 0)),
        weights_bytes=sum(path.stat().st_size for path in weights),
        kv_bytes_per_token=0,
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
