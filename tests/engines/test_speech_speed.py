"""How many milliseconds of sound a second are written down."""

import io
import wave
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from gpunode_engines.base import NO_LIMIT_PER_S, Event, Finished, Segment
from gpunode_engines.errors import BackendFailed
from gpunode_engines.media import SpeechRequest
from gpunode_engines.speech_speed import SECONDS, measure_speech


class _Engine:
    """Gives the events of a list."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[SpeechRequest] = []

    async def generate(self, request: SpeechRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        for event in self.events:
            yield event


async def test_one_window_of_sound() -> None:
    """The file is a real one and as long as a window; input costs nothing of its own."""
    engine: Any = _Engine(
        Segment(start_ms=0, end_ms=30_000, text=""), Finished(reason="stop", prompt_tokens=0, output_tokens=0)
    )
    speed = await measure_speech(engine)
    assert speed.decode_tokens_per_s >= SECONDS * 1_000
    assert speed.prefill_tokens_per_s == NO_LIMIT_PER_S
    (request,) = engine.asked
    with wave.open(io.BytesIO(request.audio)) as file:
        assert file.getnframes() == SECONDS * file.getframerate()
    assert not request.vad


async def test_an_engine_that_says_nothing() -> None:
    """There is no figure then, and none is made up."""
    engine: Any = _Engine(Finished(reason="stop", prompt_tokens=0, output_tokens=0))
    with pytest.raises(BackendFailed, match="no segment"):
        await measure_speech(engine)
