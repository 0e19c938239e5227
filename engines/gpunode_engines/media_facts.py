"""What the files of a model of images, speech or embeddings say of it before it is loaded."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gpunode_engines.errors import UnreadableWeights
from gpunode_engines.json_object import MAX_JSON_BYTES, parse_object, read_object
from gpunode_engines.model_facts import ModelFacts
from gpunode_engines.pickles import refuse_pickles
from gpunode_engines.safetensors_model import WEIGHTS_SUFFIX

_CTRANSLATE2_WEIGHTS = "model.bin"
"""CTranslate2's own format, whatever the suffix says elsewhere: https://opennmt.net/CTranslate2/conversion.html"""

_HEADER_LENGTH_BYTES = 8
_METADATA = "__metadata__"


def read_media_facts(root: Path, files: Sequence[Path]) -> ModelFacts:
    """Read the headers of a model's files; its weights stay on the disk.

    Args:
        root: the model's folder. files: its files, in order.

    Raises:
        UnreadableWeights: no weights of a kind that is served, pickles beside them, or they are damaged.
    """
    weights = [path for path in files if path.suffix == WEIGHTS_SUFFIX]
    ctranslate2 = root / _CTRANSLATE2_WEIGHTS
    refuse_pickles([path for path in files if weights or path != ctranslate2])
    if weights:
        config = read_object(root / "config.json") if (root / "config.json") in files else {}
        return _facts(weights, _main_dtype(read_safetensors_header(weights[0])), config)
    if ctranslate2 in files:
        return _facts([ctranslate2], "ctranslate2", {})
    raise UnreadableWeights(f"{root.name} has no weights that can be served: safetensors or CTranslate2 files.")


def _facts(weights: Sequence[Path], quantisation: str, config: dict[str, Any]) -> ModelFacts:
    return ModelFacts(
        quantisation=quantisation,
        trained_context_tokens=_context_tokens(config),
        weights_bytes=sum(path.stat().st_size for path in weights),
        kv_bytes_per_token=0,
    )


def read_safetensors_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file: tensor names to dtype, shape and place.

    Raises:
        UnreadableWeights: it is not one, its tensors do not lie in it, or it has more of them than models have (the
            format allows a header of 100 MB).
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(_HEADER_LENGTH_BYTES), "little")
            size = path.stat().st_size
            if not 2 <= length <= min(MAX_JSON_BYTES, size):
                raise UnreadableWeights(f"{path.name} is no safetensors file. Delete it and pull the model again.")
            header = parse_object(file.read(length), f"The header of {path.name}")
    except OSError as error:
        raise UnreadableWeights(
            f"{path.name} cannot be read ({type(error).__name__}); pull the model again."
        ) from error
    data_bytes = size - _HEADER_LENGTH_BYTES - length
    for name, tensor in header.items():
        if name != _METADATA and not _is_tensor(tensor, data_bytes):
            raise UnreadableWeights(
                f"{path.name} is no safetensors file, or is cut off: a tensor does not lie in it. Delete it and pull "
                "the model again."
            )
    return header


def _is_tensor(value: object, data_bytes: int) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("dtype"), str):
        return False
    match value.get("data_offsets"):
        case [int(start), int(end)]:
            return 0 <= start <= end <= data_bytes
    return False


def _main_dtype(header: dict[str, Any]) -> str:
    sizes: dict[str, int] = {}
    for name, tensor in header.items():
        if name != _METADATA:
            start, end = tensor["data_offsets"]
            sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - start
    return max(sizes, key=sizes.__getitem__, default="none")


def _context_tokens(config: dict[str, Any]) -> int:
    value = config.get("max_position_embeddings") or 0
    if not isinstance(value, int) or value < 0:
        raise UnreadableWeights(
            "The model's config.json has no usable max_position_embeddings. Delete it and pull the model again."
        )
    return value
