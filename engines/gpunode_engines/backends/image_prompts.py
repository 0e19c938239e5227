"""Whether a prompt fits into what an image model's text encoders read. diffusers itself cuts prompts silently."""

import copy
import inspect
import threading
from typing import Any, Final

from gpunode_engines.errors import ContextOverflow

_LONG_READER: Final = "T5EncoderModel"
"""Its length is the pipeline's parameter ``max_sequence_length``; of the others it is their tokenizer's."""
_DISTILLED_TOKENS: Final = 256
"""FLUX.1-schnell reads no more: https://huggingface.co/black-forest-labs/FLUX.1-schnell"""


class PromptCheck:
    """Counts tokens with tokenizers of its own: a pipeline's must not be used while it draws. Thread-safe.

    Args:
        pipe: the pipeline, which is only read.
    """

    def __init__(self, pipe: Any) -> None:
        self.max_sequence_length = _max_sequence_length(pipe)
        self._lock = threading.Lock()
        self._readers: list[tuple[Any, int]] = []
        for suffix in ("", "_2", "_3"):
            tokenizer, encoder = (getattr(pipe, f"{part}{suffix}", None) for part in ("tokenizer", "text_encoder"))
            if tokenizer is None or encoder is None:
                continue
            limit = int(tokenizer.model_max_length)
            if type(encoder).__name__ == _LONG_READER and self.max_sequence_length is not None:
                limit = self.max_sequence_length
            self._readers.append((copy.deepcopy(tokenizer), limit))

    def check(self, name: str, prompt: str) -> None:
        """Refuse a prompt that no encoder reads to its end.

        Args:
            name: the parameter's, for the message.
            prompt: its text.

        Raises:
            ContextOverflow: with both counts.
        """
        with self._lock:
            counts = [(len(tokenizer(prompt, truncation=False).input_ids), limit) for tokenizer, limit in self._readers]
        if counts and all(count > limit for count, limit in counts):
            count, limit = max(counts, key=lambda pair: pair[1])
            raise ContextOverflow(f"{name} has {count} tokens; this model reads {limit}. Shorten it.")


def _max_sequence_length(pipe: Any) -> int | None:
    """Return what the pipeline is told to read with its T5 encoder, None where it has none."""
    parameter = inspect.signature(pipe.__call__).parameters.get("max_sequence_length")
    if parameter is None:
        return None
    transformer = getattr(pipe, "transformer", None)
    if transformer is not None and getattr(transformer.config, "guidance_embeds", True) is False:
        return _DISTILLED_TOKENS
    return int(parameter.default)
