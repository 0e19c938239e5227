"""Transcripts in the forms that they are shown and kept in."""

import json
from pathlib import Path
from typing import Any

import pytest
from gpunode.errors import InvalidRequest
from gpunode.transcript_formats import TranscriptFormat
from gpunode.transcripts import TranscriptResult
from gpunode.types import SpokenSegment

SEGMENTS = (SpokenSegment(" Good morning,", 0.0, 1.25), SpokenSegment(" Zoë.", 1.25, 2.0))
JOB: dict[str, Any] = dict.fromkeys(("receipt", "route", "found_ms", "ttft_ms", "duration_ms"))
TRANSCRIPT = TranscriptResult(
    model="whisper-small",
    job="job",
    finish_reason="stop",
    text="Good morning, Zoë.",
    segments=SEGMENTS,
    language="en",
    duration_s=2.0,
    **JOB,
)
FORMS: list[tuple[TranscriptFormat, str]] = [
    ("text", "Good morning, Zoë.\n"),
    ("json", '{\n "text": "Good morning, Zoë."\n}\n'),
    ("verbose_json", TRANSCRIPT.to_json() + "\n"),
    ("srt", TRANSCRIPT.to_srt()),
    ("vtt", TRANSCRIPT.to_vtt()),
]


@pytest.mark.parametrize(("form", "content"), FORMS)
def test_five_forms(tmp_path: Path, form: TranscriptFormat, content: str) -> None:
    """A form that is asked for counts more than the file's name."""
    assert TRANSCRIPT.render(form) == content
    TRANSCRIPT.save(tmp_path / "a.srt", form)
    assert (tmp_path / "a.srt").read_text(encoding="utf-8") == content


def test_the_suffix_tells_the_form(tmp_path: Path) -> None:
    """Where none is asked for."""
    TRANSCRIPT.save(tmp_path / "a.vtt")
    assert (tmp_path / "a.vtt").read_text(encoding="utf-8") == TRANSCRIPT.to_vtt()


def test_json_tells_all_or_the_text() -> None:
    """Times are in seconds."""
    assert json.loads(TRANSCRIPT.to_json(verbose=False)) == {"text": "Good morning, Zoë."}
    told = json.loads(TRANSCRIPT.to_json())
    assert set(told) == {"text", "language", "duration_s", "segments"}
    assert told["segments"][1] == {"start_s": 1.25, "end_s": 2.0, "text": "Zoë."}


def test_another_form_is_refused(tmp_path: Path) -> None:
    """The message lists those that there are, and nothing is written."""
    other: Any = "ass"
    with pytest.raises(InvalidRequest, match=r"no form 'ass'.* text, json, verbose_json, srt, vtt"):
        TRANSCRIPT.save(tmp_path / "a.srt", other)
    assert list(tmp_path.iterdir()) == []
