"""Transcripts as files."""

import json

from gpunode.subtitles import to_json, to_srt, to_vtt
from gpunode.types import SpokenSegment, SpokenWord

SEGMENTS = (
    SpokenSegment(" Good\n\nmorning.", 0.0, 1.25),
    SpokenSegment(" 1 < 2 & so on", 3_661.5, 3_662.0, (SpokenWord(" 1", 3_661.5, 3_661.7),)),
)


def test_srt() -> None:
    """Numbered, comma before milliseconds, one line each: an empty line would end a cue."""
    assert to_srt(SEGMENTS) == (
        "1\n00:00:00,000 --> 00:00:01,250\nGood morning.\n\n2\n01:01:01,500 --> 01:01:02,000\n1 < 2 & so on\n"
    )


def test_vtt() -> None:
    """What would be markup is escaped."""
    assert to_vtt(SEGMENTS) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.250\nGood morning.\n"
        "\n01:01:01.500 --> 01:01:02.000\n1 &lt; 2 &amp; so on\n"
    )


def test_nothing_was_said() -> None:
    """An empty file of its kind, not a broken one."""
    assert to_srt(()) == ""
    assert to_vtt(()) == "WEBVTT\n"


def test_json() -> None:
    """Words only where there are some."""
    told = json.loads(to_json("Good morning.", language="en", duration_s=3_662.0, segments=SEGMENTS))
    assert (told["text"], told["language"], told["duration_s"]) == ("Good morning.", "en", 3_662.0)
    assert told["segments"][0] == {"start_s": 0.0, "end_s": 1.25, "text": "Good\n\nmorning."}
    assert told["segments"][1]["words"] == [{"start_s": 3_661.5, "end_s": 3_661.7, "word": "1"}]
