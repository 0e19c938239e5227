import pytest
from gpunode._finder import resolve_name

NAMES = ("smollm2-135m", "qwen2.5-0.5b-instruct", "qwen2.5-7b-instruct", "llama")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llama", "llama"),
        ("LLAMA", "llama"),
        ("qwen2.5-7b", "qwen2.5-7b-instruct"),
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b-instruct"),
        ("SmolLM2-135M-Instruct", "smollm2-135m"),
        ("smollm2", "smollm2-135m"),
        ("qwen2.5", None),
        ("qwen", None),
        ("mistral", None),
    ],
)
def test_a_name_means_the_one_model_that_it_can_mean(name: str, meant: str | None) -> None:
    """Whole parts between dashes, in either direction; never a guess between two."""
    assert resolve_name(name, NAMES) == meant


def test_an_exact_name_wins_over_longer_ones() -> None:
    """``a`` is ``a``, although ``a-b`` begins with it."""
    assert resolve_name("a", ("a", "a-b")) == "a"
