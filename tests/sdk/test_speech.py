"""A file to signed parameters, and segments to a transcript."""

import io
from pathlib import Path
from typing import Any

import pytest
from gpunode._speech import Transcription, speech_of
from gpunode.errors import InvalidRequest
from gpunode.types import SpokenSegment, SpokenWord
from gpunode_protocol.messages import SegmentFrame, TokensFrame, Word
from gpunode_protocol.outputs import blob_digest

SALT = b"s" * 32
WAV = b"RIFF....WAVE"


def test_defaults() -> None:
    """An hour at most, silence left out, the language detected."""
    speech = speech_of(WAV, {}, salt=SALT)
    assert (speech.params.mode, speech.params.max_audio_ms, speech.params.vad) == ("transcribe", 3_600_000, True)
    assert (speech.params.language, speech.params.temperature_millionths) == (None, 0)
    assert speech.audio.data == WAV
    assert speech.params.audio.digest == blob_digest(SALT, WAV)
    assert speech.params.audio.media_type == "application/octet-stream"


def test_options() -> None:
    """Each reaches the parameters; None means the default."""
    speech = speech_of(
        WAV,
        {
            "translate": True,
            "language": "de",
            "word_timestamps": True,
            "vad": False,
            "initial_prompt": "Herr Müller",
            "temperature": 0.4,
            "max_minutes": 1.5,
        },
        salt=SALT,
    )
    params = speech.params
    assert (params.mode, params.language, params.word_timestamps, params.vad) == ("translate", "de", True, False)
    assert (params.initial_prompt, params.temperature_millionths, params.max_audio_ms) == (
        "Herr Müller",
        400_000,
        90_000,
    )
    assert speech_of(WAV, {"language": None, "vad": None}, salt=SALT).params.vad


def test_files(tmp_path: Path) -> None:
    """By path, which also tells the kind, or open."""
    path = tmp_path / "a.mp3"
    path.write_bytes(WAV)
    assert speech_of(path, {}, salt=SALT).audio.media_type == "audio/mpeg"
    assert speech_of(str(path), {}, salt=SALT).audio.data == WAV
    assert speech_of(io.BytesIO(WAV), {}, salt=SALT).audio.data == WAV


@pytest.mark.parametrize(
    ("source", "options", "said"),
    [
        (Path("/no/such/file.wav"), {}, "cannot be read"),
        (b"", {}, "is empty"),
        (WAV, {"language": "x"}, "language"),
        (WAV, {"temperature": float("nan")}, "temperature must be a number"),
        (WAV, {"temperature": 2}, "temperature must be between 0 and 1"),
        (WAV, {"max_minutes": 0}, "max_minutes must be more than 0"),
        (WAV, {"max_minutes": 601}, "max_minutes must be more than 0 and at most 240"),
        (WAV, {"max_minutes": float("nan")}, "max_minutes must be"),
        (WAV, {"max_minutes": "1"}, "max_minutes must be a number"),
        (WAV, {"initial_prompt": "x" * 5_000}, "initial_prompt"),
        (bytes(104_857_601), {}, "more than 104,857,600 bytes"),
    ],
)
def test_what_cannot_be_sent(source: Any, options: Any, said: str) -> None:
    """Nothing is sent, and the message says why."""
    with pytest.raises(InvalidRequest, match=said):
        speech_of(source, options, salt=SALT)


def test_a_misspelt_option() -> None:
    """It is a mistake of the caller's program."""
    wrong: Any = {"langauge": "de"}
    with pytest.raises(TypeError, match="langauge"):
        speech_of(WAV, wrong, salt=SALT)


def test_segments_are_told_as_they_come() -> None:
    """Silence is not told; words keep their times, in seconds."""
    told: list[SpokenSegment] = []
    transcription = Transcription(told.append)
    words = (Word(start_ms=0, end_ms=500, text=" Good"),)
    transcription.take(SegmentFrame(start_ms=0, end_ms=900, text=" Good", language="en", words=words))
    transcription.take(SegmentFrame(start_ms=900, end_ms=5_000, text=""))
    transcription.take(TokensFrame(ids=(1,), text="not speech"))
    assert told == [SpokenSegment(" Good", 0.0, 0.9, (SpokenWord(" Good", 0.0, 0.5),))]
