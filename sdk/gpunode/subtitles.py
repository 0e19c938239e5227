"""A transcript as a file: plain text, JSON, SubRip (.srt) or WebVTT (.vtt)."""

import json
from collections.abc import Sequence
from typing import Any

from gpunode.types import SpokenSegment

_MS_PER_S = 1_000
_S_PER_MINUTE = 60
_MINUTES_PER_HOUR = 60


def to_srt(segments: Sequence[SpokenSegment]) -> str:
    """Return SubRip text; there is no standard, this is what players read: numbered cues, comma before milliseconds."""
    cues = (
        f"{number}\n{_time(segment.start_s, ',')} --> {_time(segment.end_s, ',')}\n{_line(segment)}\n"
        for number, segment in enumerate(segments, 1)
    )
    return "\n".join(cues)


def to_vtt(segments: Sequence[SpokenSegment]) -> str:
    """Return WebVTT (https://www.w3.org/TR/webvtt1/)."""
    cues = (
        f"{_time(segment.start_s, '.')} --> {_time(segment.end_s, '.')}\n{_escaped(_line(segment))}\n"
        for segment in segments
    )
    return "\n".join(("WEBVTT\n", *cues))


def to_json(
    text: str,
    *,
    language: str | None = None,
    duration_s: float | None = None,
    segments: Sequence[SpokenSegment] | None = None,
) -> str:
    """Return one JSON object with what is given; seconds."""
    value: dict[str, Any] = {"text": text, "language": language, "duration_s": duration_s}
    if segments is not None:
        value["segments"] = [segment_as_json(segment) for segment in segments]
    return json.dumps({name: part for name, part in value.items() if part is not None}, ensure_ascii=False, indent=1)


def segment_as_json(segment: SpokenSegment) -> dict[str, Any]:
    """Return one segment for JSON; words only where there are some."""
    value: dict[str, Any] = {"start_s": segment.start_s, "end_s": segment.end_s, "text": segment.text.strip()}
    if segment.words is not None:
        value["words"] = [
            {"start_s": word.start_s, "end_s": word.end_s, "word": word.text.strip()} for word in segment.words
        ]
    return value


def _line(segment: SpokenSegment) -> str:
    """Return the text on one line: an empty line would end the cue."""
    return " ".join(segment.text.split())


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _time(seconds: float, separator: str) -> str:
    rest, milliseconds = divmod(round(seconds * _MS_PER_S), _MS_PER_S)
    rest, second = divmod(rest, _S_PER_MINUTE)
    hour, minute = divmod(rest, _MINUTES_PER_HOUR)
    return f"{hour:02}:{minute:02}:{second:02}{separator}{milliseconds:03}"
