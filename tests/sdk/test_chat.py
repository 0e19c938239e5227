from typing import Any

import pytest
from gpunode._chat import DEFAULT_MAX_TOKENS, llm_params
from gpunode.errors import InvalidRequest

HELLO: list[Any] = [{"role": "user", "content": "hi"}]


def test_fractions_travel_in_millionths() -> None:
    """Signed maps know no floats."""
    params = llm_params(
        HELLO,
        {"temperature": 0.7, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.1, "presence_penalty": -0.5},
        now=12.9,
    )
    assert (params.temperature_millionths, params.top_p_millionths, params.min_p_millionths) == (
        700_000,
        950_000,
        50_000,
    )
    assert (params.repetition_penalty_millionths, params.presence_penalty_millionths) == (1_100_000, -500_000)
    assert params.now == 12


def test_what_is_left_out_is_the_default() -> None:
    """None counts as left out."""
    params = llm_params(HELLO, {"seed": None, "temperature": None}, now=0)
    assert (params.max_tokens, params.temperature_millionths, params.seed, params.stop) == (
        DEFAULT_MAX_TOKENS,
        1_000_000,
        None,
        (),
    )


def test_stop_is_one_text_or_several() -> None:
    """As in other clients."""
    assert llm_params(HELLO, {"stop": "END"}, now=0).stop == ("END",)
    assert llm_params(HELLO, {"stop": ["a", "b"]}, now=0).stop == ("a", "b")


@pytest.mark.parametrize(
    ("messages", "options", "named"),
    [
        ([], {}, "messages"),
        ([{"role": "robot", "content": "hi"}], {}, "messages.0.role"),
        ([{"role": "user", "content": ["parts"]}], {}, "messages.0.content"),
        (HELLO, {"max_tokens": 0}, "max_tokens"),
        (HELLO, {"max_tokens": 1.5}, "max_tokens"),
        (HELLO, {"temperature": 2.1}, "temperature must be between 0 and 2\\."),
        (HELLO, {"presence_penalty": -9}, "presence_penalty must be between -2 and 2\\."),
        (HELLO, {"repetition_penalty": 0}, "repetition_penalty must be more than 0 and at most 10\\."),
        (HELLO, {"temperature": "hot"}, "temperature"),
        (HELLO, {"temperature": float("nan")}, "temperature"),
        (HELLO, {"temperature": float("inf")}, "temperature"),
        (HELLO, {"top_p": 0.0}, "top_p must be more than 0 and at most 1\\."),
        (HELLO, {"seed": -1}, "seed"),
        (HELLO, {"stop": [""]}, "stop"),
        (HELLO, {"stop": ["x"] * 17}, "stop"),
        ([{"role": "user", "content": "x" * 1_000_001}], {}, "content"),
        ([{"role": "user", "content": "x" * 600_000}] * 2, {}, "1 MiB"),
    ],
)
def test_what_is_not_valid_is_named(messages: Any, options: Any, named: str) -> None:
    """Before anything is sent; texts of the user are not repeated."""
    with pytest.raises(InvalidRequest, match=named) as caught:
        llm_params(messages, options, now=0)
    assert len(str(caught.value)) < 300


def test_an_unknown_argument_is_a_type_error() -> None:
    """As for any function."""
    options: Any = {"temprature": 1}
    with pytest.raises(TypeError, match="temprature"):
        llm_params(HELLO, options, now=0)
