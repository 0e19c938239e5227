import math

import pytest
from gpunode_engines.checks import check_generate
from gpunode_engines.errors import ContextOverflow, InvalidParameters, ResumeRefused

from tests.engines.scripted_engine import ask

CONTEXT = 20


def test_what_just_fits_is_fine() -> None:
    """Prompt, resumed and new tokens may fill the context exactly."""
    check_generate(ask("12345", max_tokens=10, resume_ids=(1,) * 5, text_offset=3), CONTEXT)


def test_one_token_too_many_is_refused() -> None:
    """The message names the limit."""
    with pytest.raises(ContextOverflow, match="at most 20 fit"):
        check_generate(ask("12345", max_tokens=16), CONTEXT)


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt_ids": ()},
        {"max_tokens": 0},
        {"max_tokens": -1},
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"min_p": 1.5},
        {"repetition_penalty": 0.0},
        {"presence_penalty": 3.0},
        {"frequency_penalty": -3.0},
        {"seed": 2**32},
        {"seed": -1},
        {"logprobs": 21},
        {"stop": ("",)},
        {"stop": ("x" * 257,)},
        {"stop": ("x",) * 17},
        {"deadline_s": 0.0},
    ],
)
def test_values_out_of_range_are_refused(fields: dict[str, object]) -> None:
    """Each parameter has its range."""
    with pytest.raises(InvalidParameters):
        check_generate(ask("12345", **{"max_tokens": 5} | fields), CONTEXT)


@pytest.mark.parametrize("fields", [{"text_offset": 1}, {"text_offset": -1, "resume_ids": (1,)}])
def test_text_offsets_need_ids(fields: dict[str, object]) -> None:
    """Nobody has text without tokens."""
    with pytest.raises(ResumeRefused):
        check_generate(ask("12345", **{"max_tokens": 5} | fields), CONTEXT)
