"""faster-whisper: seconds of audio a second beside the library alone.

The file is silence, of which whisper-tiny.en hears one word: the only sound without a recording for which it decodes
the same each time at the first attempt. So encoder and file handling are measured, and little of the decoder.
"""

import contextlib
import tempfile
import time
import wave
from functools import partial
from pathlib import Path
from typing import Final

from gpunode_engines.base import Finished, Segment
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.media import SpeechRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from gpunode_benchmarks.engines.turns import SIDES, THREADS, Order, sequences, side_measures, started_sides, take_turns
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import Measure

MODEL: Final = "whisper-tiny.en"
AUDIO_S: Final = 30
"""One window of Whisper's: shorter files cost as much."""

_BARE: Final = "gpunode_benchmarks.engines.bare.whisper_child"
_LANGUAGE: Final = "en"
_RATE: Final = 16_000


async def measure_whisper(rounds: int) -> list[Measure]:
    """Have all sides write down the same file.

    Args:
        rounds: pairs.

    Raises:
        BenchmarkFailed: a side heard nothing.
        GpunodeError: the model is not here or cannot be loaded.
    """
    settings = EngineSettings(engine_threads=THREADS, engine_slots=1, engine_gpu=False)
    plan = plan_engine(resolve_model(MODEL), settings, detect_machine())
    engine = create_engine(plan, settings)
    load = {"root": plan.root, "threads": THREADS}
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as folder:
        file = _write_silence(Path(folder) / "silence.wav")

        def next_file() -> Order:
            return {"file": str(file), "language": _LANGUAGE}

        async with started_sides(engine, partial(transcribe, engine), _BARE, load) as sides:
            await take_turns(sides, [SIDES], next_file)  # warms up
            seconds = await take_turns(sides, sequences(rounds), next_file)
    return side_measures(seconds, work=AUDIO_S, unit="audio s/s", about="faster-whisper")


async def transcribe(engine: SupervisedEngine, order: Order) -> float:
    """Write down one file; return seconds. Raises BenchmarkFailed: nothing was heard, or the job ended otherwise."""
    started_at = time.perf_counter()
    request = SpeechRequest(
        job_key="bench",
        audio=Path(order["file"]).read_bytes(),
        max_audio_ms=2 * AUDIO_S * 1_000,
        language=order["language"],
        vad=False,
    )
    reason, heard = None, ""
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Segment):
                heard += event.text
            elif isinstance(event, Finished):
                reason = event.reason
    if reason != "stop" or not heard:
        raise BenchmarkFailed(f"The engine ended a job with {reason!r} and heard {heard!r}.")
    return time.perf_counter() - started_at


def _write_silence(path: Path) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(bytes(2 * _RATE * AUDIO_S))
    return path
