from pathlib import Path

import pytest
from gpunode.errors import InvalidRequest
from gpunode.types import Chunk, Picture, Usage


def test_usage_adds_up() -> None:
    """Prompt and answer."""
    assert Usage(prompt_tokens=7, completion_tokens=4).total_tokens == 11


def test_a_chunk_is_a_pair() -> None:
    """Text and ids can be unpacked."""
    text, ids = Chunk("a", (1,))
    assert (text, ids) == ("a", (1,))


@pytest.mark.parametrize("name", ["a.png", "a.PNG", "a", "a.bin"])
def test_a_picture_is_saved(tmp_path: Path, name: str) -> None:
    """Under a name of its format, or one that names none."""
    assert Picture(b"data", "image/png").save(tmp_path / name).read_bytes() == b"data"


def test_a_picture_is_not_saved_as_what_it_is_not(tmp_path: Path) -> None:
    """The message says how to get that format; nothing is written."""
    with pytest.raises(InvalidRequest, match=r"a\.jpg would hold image/png: ask for it with .*format='jpeg'"):
        Picture(b"data", "image/png").save(tmp_path / "a.jpg")
    with pytest.raises(InvalidRequest, match=r"a\.GIF would hold image/png: end its name in"):
        Picture(b"data", "image/png").save(tmp_path / "a.GIF")
    assert list(tmp_path.iterdir()) == []
