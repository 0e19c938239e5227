"""What no engine could serve is refused before any work."""

import math
from typing import Any

import pytest
from gpunode_engines.errors import InvalidParameters
from gpunode_engines.media import EmbeddingRequest, ImageRequest, MediaRequest, SpeechRequest
from gpunode_engines.media_checks import check_media

IMAGE: dict[str, Any] = {"job_key": "j", "prompt": "seven", "width": 32, "height": 32, "steps": 8}
SPEECH: dict[str, Any] = {"job_key": "j", "audio": b"RIFF", "max_audio_ms": 1000}


@pytest.mark.parametrize(
    "request_",
    [
        ImageRequest(**IMAGE),
        ImageRequest(**IMAGE | {"steps": 1000, "guidance": 0.0, "n": 16, "seed": 2**32 - 1}),
        SpeechRequest(**SPEECH),
        SpeechRequest(**SPEECH | {"start_ms": 360_000_000, "max_audio_ms": 14_400_000, "temperature": 1.0}),
        EmbeddingRequest(job_key="j", inputs=("a",)),
    ],
)
def test_limits_themselves_are_allowed(request_: MediaRequest) -> None:
    """Ranges are closed."""
    check_media(request_)


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (ImageRequest(**IMAGE | {"steps": 0}), "steps is 0"),
        (ImageRequest(**IMAGE | {"steps": 10_000}), "between 1 and 1000"),
        (ImageRequest(**IMAGE | {"width": 0}), "width"),
        (ImageRequest(**IMAGE | {"height": 8200}), "height"),
        (ImageRequest(**IMAGE | {"guidance": math.nan}), "guidance is nan"),
        (ImageRequest(**IMAGE | {"strength": math.inf}), "strength is inf"),
        (ImageRequest(**IMAGE | {"n": 17}), "n is 17"),
        (ImageRequest(**IMAGE | {"seed": 2**32}), "seed"),
        (ImageRequest(**IMAGE | {"deadline_s": 0.0}), "deadline"),
        (SpeechRequest(**SPEECH | {"max_audio_ms": 0}), "max_audio_ms"),
        (SpeechRequest(**SPEECH | {"max_audio_ms": 14_400_001}), "max_audio_ms"),
        (SpeechRequest(**SPEECH | {"temperature": math.nan}), "temperature is nan"),
        (SpeechRequest(**SPEECH | {"start_ms": -1}), "start_ms"),
        (EmbeddingRequest(job_key="j", inputs=()), "0 inputs"),
        (EmbeddingRequest(job_key="j", inputs=("a",) * 2049), "2049 inputs"),
    ],
)
def test_what_is_outside_is_named_with_its_limits(request_: MediaRequest, named: str) -> None:
    """NaN is outside of every range."""
    with pytest.raises(InvalidParameters, match=named):
        check_media(request_)
