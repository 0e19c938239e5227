from gpunode.types import Chunk, Usage


def test_usage_adds_up() -> None:
    """Prompt and answer."""
    assert Usage(prompt_tokens=7, completion_tokens=4).total_tokens == 11


def test_a_chunk_is_a_pair() -> None:
    """Text and ids can be unpacked."""
    text, ids = Chunk("a", (1,))
    assert (text, ids) == ("a", (1,))
