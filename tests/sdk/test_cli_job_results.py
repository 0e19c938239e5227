"""Results of queued jobs for people."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from gpunode.cli_job_results import result_text, save_result
from gpunode.errors import ClientError


def picture(data: bytes = b"x", media_type: str = "image/png") -> dict[str, str]:
    """Return a picture as results have it."""
    return {"data": base64.b64encode(data).decode(), "media_type": media_type}


@pytest.mark.parametrize(
    ("task", "result", "shown"),
    [
        ("llm", {"response": "Hi!", "usage": {}}, "Hi!"),
        ("whisper", {"text": "Hello world.", "segments": []}, "Hello world."),
        ("image_gen", {"images": [picture()]}, "1 picture; --out FILE writes them, --json prints them"),
        ("embedding", {"embeddings": [[1.0], [2.0]]}, "2 vectors; --out FILE writes them, --json prints them"),
        ("llm", {"strange": 1}, '{"strange": 1}'),
        ("llm", {"response": 7}, '{"response": 7}'),
    ],
)
def test_what_is_shown(task: str, result: dict[str, Any], shown: str) -> None:
    """Text as text; what is no text is counted; whatever else a worker sent is JSON."""
    assert result_text(task, result) == shown


def test_text_and_json(tmp_path: Path) -> None:
    """By the file's name; vectors are JSON always."""
    text, whole, vectors = tmp_path / "a.txt", tmp_path / "a.json", tmp_path / "v"
    answer = {"response": "Hi!", "usage": {"prompt_tokens": 3}}
    assert save_result("llm", answer, text) == [text]
    save_result("llm", answer, whole)
    save_result("embedding", {"embeddings": [[0.5]]}, vectors)
    assert text.read_text() == "Hi!\n"
    assert json.loads(whole.read_text()) == answer
    assert json.loads(vectors.read_text()) == {"embeddings": [[0.5]]}


def test_pictures(tmp_path: Path) -> None:
    """One as it is named, several with numbers; a name without suffix gets the picture's own."""
    assert save_result("image_gen", {"images": [picture(b"one")]}, tmp_path / "a.png") == [tmp_path / "a.png"]
    two = save_result("image_gen", {"images": [picture(b"1"), picture(b"2", "image/webp")]}, tmp_path / "b")
    assert [path.name for path in two] == ["b-1.png", "b-2.webp"]
    assert two[1].read_bytes() == b"2"


@pytest.mark.parametrize("images", [[{}], [7], [{"data": "#", "media_type": "image/png"}], [{"data": 7}]])
def test_pictures_that_are_none(tmp_path: Path, images: list[Any]) -> None:
    """A worker without a key may send anything."""
    with pytest.raises(ClientError, match="cannot be read"):
        save_result("image_gen", {"images": images}, tmp_path / "a.png")
