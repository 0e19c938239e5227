"""Weights that can run code when they are loaded, known by their names: none is ever opened, whatever the task."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from gpunode_engines.errors import UnreadableWeights

_SUFFIXES: Final = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})


def refuse_pickles(paths: Sequence[Path]) -> None:
    """Refuse files that are pickles by their names, in capitals too.

    Raises:
        UnreadableWeights: naming the first one.
    """
    for path in paths:
        if path.suffix.lower() in _SUFFIXES:
            raise UnreadableWeights(
                f"{path.name} is a pickle, which can run any code when it is loaded; it is never opened. "
                "Take weights in safetensors format, GGUF or CTranslate2's."
            )
