"""Windows of speech that are decoded together, with the real model (whisper-tiny.en), on the CPU."""

import itertools
import threading
import wave
from pathlib import Path

import numpy
import pytest
from gpunode_engines.backends import speech_windows
from gpunode_engines.backends.audio_files import SAMPLE_RATE, decode_audio
from gpunode_engines.backends.speech_whisper import WhisperBackend
from gpunode_engines.base import Event, Finished, Segment
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.ipc import Load
from gpunode_engines.media import SpeechRequest
from gpunode_engines.plan import plan_engine

from tests.engines.speech_samples import TEXT, spoken, three_times, word_error_rate

THRICE = " ".join((TEXT, TEXT, TEXT))


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> WhisperBackend:
    """The backend as it works on a card, loaded once for all tests of this file."""
    folder = tmp_path_factory.mktemp("engine")
    settings = EngineSettings(models_dir=folder, cache_dir=folder, engine_threads=1)
    plan = plan_engine(resolve_model("whisper-tiny.en"), settings, detect_machine())
    loaded = WhisperBackend(batching=frozenset({"cpu"}))
    loaded.load(
        Load(task=plan.task, backend=plan.backend, model=plan.model, root=plan.root, files=plan.files,
             options=plan.options)
    )  # fmt: skip
    return loaded


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Three times three sentences, with pauses."""
    folder = tmp_path_factory.mktemp("speech")
    return three_times(spoken(TEXT, folder / "speech.wav").read_bytes(), folder)


def _run(backend: WhisperBackend, audio: bytes, **fields: object) -> list[Segment]:
    values: dict[str, object] = {"job_key": "job", "audio": audio, "max_audio_ms": 600_000} | fields
    events: list[Event] = []
    backend.generate(SpeechRequest(**values), events.append, threading.Event())  # type: ignore[arg-type]  # -- fields of the request
    assert events[-1] == Finished(reason="stop", prompt_tokens=0, output_tokens=0)
    return [event for event in events if isinstance(event, Segment) and event.text]


def _check(segments: list[Segment]) -> None:
    """The text is right, in pieces of a sentence or two, one after the other, where they were said."""
    assert word_error_rate(THRICE, "".join(segment.text for segment in segments)) <= 0.25
    assert all(one.end_ms <= other.start_ms for one, other in itertools.pairwise(segments))
    assert max(segment.end_ms - segment.start_ms for segment in segments) < 12_000
    for earlier, later in itertools.pairwise(_of("open the window", segments)):
        assert later.start_ms - earlier.start_ms > 15_000


def _of(words: str, segments: list[Segment]) -> list[Segment]:
    found = [segment for segment in segments if words in segment.text]
    assert len(found) == 3
    return found


@pytest.mark.full
def test_windows_decoded_together_give_subtitles(backend: WhisperBackend, speech: bytes) -> None:
    """Not blocks of half a minute."""
    _check(_run(backend, speech))


@pytest.mark.full
def test_without_vad_there_are_no_windows(backend: WhisperBackend, speech: bytes) -> None:
    """A file of more than half a minute is decoded all the same."""
    segments = _run(backend, speech, vad=False)
    assert word_error_rate(THRICE, "".join(segment.text for segment in segments)) <= 0.25


@pytest.mark.full
def test_a_temperature_is_drawn_at(backend: WhisperBackend, speech: bytes) -> None:
    """Decoding window by window does that; words may differ, so only that there are some is asked."""
    assert _run(backend, speech, temperature=0.4)


@pytest.mark.full
@pytest.mark.parametrize(
    ("limit", "value"),
    [("_MIN_MEAN_LOGPROB", 0.0), ("_MAX_COMPRESSION_RATIO", 0.0)],
)
def test_windows_that_went_wrong_are_decoded_again(
    backend: WhisperBackend, speech: bytes, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    """Here every one counts as wrong: each is decoded at the next temperatures, and times are those of the file."""
    monkeypatch.setattr(speech_windows, limit, value)
    segments = _run(backend, speech, word_timestamps=True)
    assert word_error_rate(THRICE, "".join(segment.text for segment in segments)) <= 0.4
    for segment in segments:
        assert segment.words
        assert all(segment.start_ms - 500 <= word.start_ms <= segment.end_ms + 500 for word in segment.words)
    assert segments[-1].start_ms > 40_000


def test_silence_has_no_windows(backend: WhisperBackend, tmp_path: Path) -> None:
    """Nothing is decoded of it, and nothing invented."""
    silence = numpy.zeros(60 * SAMPLE_RATE, dtype=numpy.float32)
    assert speech_windows.speech_windows(silence, 30) == []
    with wave.open(str(tmp_path / "silence.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(bytes(2 * 60 * SAMPLE_RATE))
    assert _run(backend, (tmp_path / "silence.wav").read_bytes()) == []


def test_windows_are_filled_and_end_at_long_silence(speech: bytes) -> None:
    """Sentences that follow each other share one; pauses of ten seconds are in none."""
    samples = decode_audio(speech, start_ms=0, max_audio_ms=600_000)
    windows = speech_windows.speech_windows(samples, 30)
    assert len(windows) == 3
    assert all(end - start <= 30 * SAMPLE_RATE for start, end in windows)
    assert all(later[0] - earlier[1] > 8 * SAMPLE_RATE for earlier, later in itertools.pairwise(windows))
    assert len(speech_windows.speech_windows(samples, 5)) > 3
