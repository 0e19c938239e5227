"""Measuring an engine of speech recognition with a few seconds of sound that it cannot skip."""

import asyncio
import contextlib
import io
import random
import wave

from gpunode_engines.base import NO_LIMIT_PER_S, Engine, MeasuredSpeed, Segment
from gpunode_engines.errors import BackendFailed
from gpunode_engines.media import SpeechRequest

SECONDS = 30
"""Whisper works in windows of 30 s: a shorter sound costs as much."""

_RATE = 16_000
_LOUDNESS = 2_000
"""Of 32,768: clearly no silence."""


async def measure_speech(engine: Engine) -> MeasuredSpeed:
    """Transcribe noise on an idle engine, and return milliseconds of audio per second.

    At the highest temperature there is one attempt a window; at lower ones noise, which no text fits, gets several.
    Noise has few words, so that speech takes longer; the scheduler learns that from the first jobs.

    Raises:
        EngineError: as ``Engine.generate``.
    """
    request = SpeechRequest(
        job_key="speed-measurement",
        audio=_noise(),
        max_audio_ms=SECONDS * 1_000,
        language="en",
        vad=False,
        temperature=1.0,
    )
    clock = asyncio.get_running_loop().time
    started_at, first_at = clock(), None
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Segment) and first_at is None:
                first_at = clock()
    if first_at is None:
        raise BackendFailed("The engine gave no segment to measure its speed by; try again.")
    return MeasuredSpeed(
        prefill_tokens_per_s=NO_LIMIT_PER_S,
        decode_tokens_per_s=SECONDS * 1_000 / (clock() - started_at),
        ttft_s=first_at - started_at,
        prompt_tokens=0,
        output_tokens=0,
    )


def _noise() -> bytes:
    """Return a WAV file of white noise, the same each time."""
    source = random.Random(0)  # noqa: S311 -- noise, not a secret
    samples = (source.randint(-_LOUDNESS, _LOUDNESS) for _ in range(SECONDS * _RATE))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(b"".join(sample.to_bytes(2, "little", signed=True) for sample in samples))
    return buffer.getvalue()
