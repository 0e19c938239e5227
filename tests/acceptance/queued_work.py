"""Jobs of the kinds beside chat as plain HTTP submits them, and whether a result is a real one."""

import base64
import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from tests.engines.speech_samples import TEXT, spoken, word_error_rate

MODELS = ("digits-diffusion", "all-minilm-l6-v2", "whisper-tiny.en")
"""The packaged ones that serve these jobs."""


@dataclass(frozen=True)
class Work:
    """A job. check: fails if a result is none. units: the field of ``usage`` that is billed."""

    type: str
    model: str
    params: Mapping[str, Any]
    check: Callable[[Mapping[str, Any]], None]
    units: str

    @property
    def submission(self) -> dict[str, Any]:
        """The body that queues it."""
        return {"type": self.type, "model": self.model, "params": dict(self.params)}


def every_kind(folder: Path) -> tuple[Work, ...]:
    """Return a job for each of ``MODELS``; files that they need are made in ``folder``."""
    drawn = {"prompt": "a handwritten seven", "size": "40x32", "steps": 8, "seed": 7}
    texts = {"input": ["a cat", "the stock market", "a kitten"]}
    heard = {"audio": base64.b64encode(spoken(TEXT, folder / "speech.wav").read_bytes()).decode(), "max_minutes": 1}
    return (
        Work("image_gen", MODELS[0], drawn, _is_a_picture, "image_units"),
        Work("embedding", MODELS[1], texts, _tells_cats_from_markets, "prompt_tokens"),
        Work("whisper", MODELS[2], heard, _is_what_was_said, "audio_ms"),
    )


def _is_a_picture(result: Mapping[str, Any]) -> None:
    (file,) = result["images"]
    assert file["media_type"] == "image/png"
    with Image.open(io.BytesIO(base64.b64decode(file["data"], validate=True))) as picture:
        picture.load()
        assert (picture.format, picture.size) == ("PNG", (40, 32))
        darkest, brightest = picture.convert("L").getextrema()
    assert brightest - darkest > 100  # ink on paper, and not one grey


def _tells_cats_from_markets(result: Mapping[str, Any]) -> None:
    vectors = result["embeddings"]
    assert [len(vector) for vector in vectors] == [384] * 3
    for vector in vectors:
        assert math.isclose(math.hypot(*vector), 1, abs_tol=1e-3)
    cat, market, kitten = vectors
    assert _product(cat, kitten) > 0.5 > _product(cat, market)


def _product(left: list[float], right: list[float]) -> float:
    return sum(map(float.__mul__, left, right))


def _is_what_was_said(result: Mapping[str, Any]) -> None:
    assert word_error_rate(TEXT, result["text"]) <= 0.25
    assert result["language"] == "en"
    ends = [segment["end"] for segment in result["segments"]]
    assert ends == sorted(ends)
    assert 1000 * ends[-1] <= result["usage"]["audio_ms"] + 1000
