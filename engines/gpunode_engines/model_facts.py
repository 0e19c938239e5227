"""What a model's own files say about it, whichever format they have."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunode_engines.gguf import read_gguf_header
from gpunode_engines.pickles import refuse_pickles
from gpunode_engines.safetensors_model import WEIGHTS_SUFFIX, is_checkpoint, read_checkpoint_config

_CPU_ELEMENT_BYTES = 4
"""transformers computes with 32-bit floats on CPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """quantisation: type of the weights. weights_bytes, kv_bytes_per_token: what they take in memory, bytes."""

    quantisation: str
    trained_context_tokens: int
    weights_bytes: int
    kv_bytes_per_token: int


def read_model_facts(paths: Sequence[Path], *, on_gpu: bool) -> ModelFacts:
    """Read the headers of a text model's files.

    Args:
        paths: all files of the model, at least one.
        on_gpu: where it will run; a checkpoint in safetensors format is widened on a CPU.

    Raises:
        UnreadableWeights: they cannot be read, or are pickles.
    """
    refuse_pickles(paths)
    return _checkpoint_facts(paths, on_gpu=on_gpu) if is_checkpoint(paths) else _gguf_facts(paths)


def _gguf_facts(paths: Sequence[Path]) -> ModelFacts:
    header = read_gguf_header(paths[0])
    return ModelFacts(
        quantisation=header.quantisation,
        trained_context_tokens=header.trained_context_tokens,
        weights_bytes=sum(path.stat().st_size for path in paths),
        kv_bytes_per_token=header.kv_bytes_per_token(),
    )


def _checkpoint_facts(paths: Sequence[Path], *, on_gpu: bool) -> ModelFacts:
    config = read_checkpoint_config(paths)
    stored_bytes = sum(path.stat().st_size for path in paths if path.suffix == WEIGHTS_SUFFIX)
    element_bytes = config.element_bytes() if on_gpu else _CPU_ELEMENT_BYTES
    return ModelFacts(
        quantisation=config.dtype if on_gpu else "float32",
        trained_context_tokens=config.trained_context_tokens,
        weights_bytes=stored_bytes * element_bytes // config.element_bytes(),
        kv_bytes_per_token=config.kv_bytes_per_token(element_bytes),
    )
