"""The forms of a transcript, by name and by a file's suffix. Imports nothing heavy: the command line has them too."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal

TranscriptFormat = Literal["text", "json", "verbose_json", "srt", "vtt"]
"""json: an object with the text alone. verbose_json: also language, duration and segments, with their words if any."""

_OF_SUFFIX: Final[Mapping[str, TranscriptFormat]] = MappingProxyType(
    {".srt": "srt", ".vtt": "vtt", ".json": "verbose_json"}
)


def format_of(path: Path) -> TranscriptFormat:
    """Return the form that a file's suffix tells, in any case; text where it tells nothing."""
    return _OF_SUFFIX.get(path.suffix.lower(), "text")
