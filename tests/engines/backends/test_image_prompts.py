"""Prompts that would be cut are refused; those of real encoders are tested with the pipelines."""

import pytest
from gpunode_engines.backends.image_prompts import PromptCheck
from gpunode_engines.errors import ContextOverflow


class _Tokenizer:
    """A token a word."""

    model_max_length = 3

    def __call__(self, text: str, *, truncation: bool) -> "_Tokenizer":
        assert truncation is False
        self.input_ids = text.split()
        return self


class _Pipe:
    tokenizer = _Tokenizer()
    text_encoder = object()

    def __call__(self, prompt: str) -> None:
        """Draw nothing."""


def test_the_longest_prompt_that_is_read() -> None:
    """All of it."""
    check = PromptCheck(_Pipe())
    check.check("prompt", "one two three")
    assert check.max_sequence_length is None


def test_a_longer_one_is_refused_by_its_name() -> None:
    """With both counts."""
    with pytest.raises(ContextOverflow, match="negative_prompt has 4 tokens; this model reads 3"):
        PromptCheck(_Pipe()).check("negative_prompt", "one two three four")
