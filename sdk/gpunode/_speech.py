"""Speech: the caller's file to signed parameters, and segments to a transcript."""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, TypedDict

from gpunode_protocol.blobs import Blob
from gpunode_protocol.client_job import JobEvent
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.messages import SegmentFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import MAX_AUDIO_MS, BlobRef, SpeechParams

from gpunode._input_files import read_input
from gpunode._job_result import JobFacts
from gpunode._millionths import millionths
from gpunode._refusals import not_valid
from gpunode.errors import InvalidRequest
from gpunode.transcripts import TranscriptResult
from gpunode.types import SpokenSegment, SpokenWord

DEFAULT_MAX_MINUTES: Final = 60.0
_MS_PER_MINUTE: Final = 60_000
_MS_PER_S: Final = 1_000
_AUDIO_ID: Final = 0
_UNKNOWN_TYPE: Final = "application/octet-stream"

AudioSource = str | Path | bytes | BinaryIO
"""A path, the bytes of a file, or an open binary file."""


class SpeechOptions(TypedDict, total=False):
    """How speech is written down; what is left out is the default.

    translate: into English. language: ISO 639-1 such as ``de``; detected unless given. word_timestamps: times of each
    word. vad: leave silence out, True unless given. initial_prompt: words that the model should expect. temperature:
    0 to 1. max_minutes: what is paid for at most, 60 unless given; longer audio is refused.
    """

    translate: bool | None
    language: str | None
    word_timestamps: bool | None
    vad: bool | None
    initial_prompt: str | None
    temperature: float | None
    max_minutes: float | None


@dataclass(frozen=True)
class Speech:
    """What is signed, and the file that goes with it."""

    params: SpeechParams
    audio: Blob


def speech_of(source: AudioSource, options: SpeechOptions, *, salt: bytes) -> Speech:
    """Read the file and return what is sent; ``salt``: the job's, under which the file's digest is made.

    Raises:
        InvalidRequest: the file cannot be read or is empty, or an option is not valid; nothing was sent.
    """
    unknown = sorted(set(options) - set(SpeechOptions.__annotations__))
    if unknown:
        raise TypeError(f"transcribe() got unexpected arguments: {', '.join(unknown)}")
    audio = _read(source)
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    mode: Literal["transcribe", "translate"] = "translate" if given.pop("translate", False) else "transcribe"
    value = {
        "mode": mode,
        "max_audio_ms": _milliseconds(given.pop("max_minutes", DEFAULT_MAX_MINUTES)),
        "temperature_millionths": millionths(SpeechParams, "temperature", given.pop("temperature", 0.0)),
        **given,
    }
    ref = BlobRef(
        id=_AUDIO_ID, size_bytes=len(audio.data), digest=blob_digest(salt, audio.data), media_type=audio.media_type
    )
    try:
        return Speech(SpeechParams.from_map({**value, "audio": ref.to_map()}), audio)
    except MalformedMessage as error:
        raise not_valid(error) from error


def _milliseconds(minutes: object) -> int:
    if isinstance(minutes, bool) or not isinstance(minutes, int | float):
        raise not_valid("max_minutes must be a number")
    if not 1 <= minutes * _MS_PER_MINUTE <= MAX_AUDIO_MS:
        most = MAX_AUDIO_MS // _MS_PER_MINUTE
        raise not_valid(f"max_minutes must be more than 0 and at most {most}; send longer audio in parts")
    return round(minutes * _MS_PER_MINUTE)


def _read(source: AudioSource) -> Blob:
    """Return the file as a blob."""
    data = read_input(source, "audio file")
    if not data:
        raise InvalidRequest("The audio file is empty; nothing was sent.")
    name = str(source) if isinstance(source, str | Path) else ""
    media_type = mimetypes.guess_type(name)[0] if name else None
    return Blob(id=_AUDIO_ID, media_type=media_type or _UNKNOWN_TYPE, data=data)


class Transcription:
    """Collects the segments of a job as they come.

    Args:
        on_segment: called with each that has text.
    """

    def __init__(self, on_segment: Callable[[SpokenSegment], None] | None = None) -> None:
        self._on_segment = on_segment
        self._segments: list[SpokenSegment] = []
        self._language = ""

    def take(self, event: JobEvent) -> None:
        """Note an event. A segment without text tells how far silence was decoded; nobody wants to read it."""
        if isinstance(event, SegmentFrame):
            self._language = event.language or self._language
            if event.text:
                self._segments.append(_spoken(event))
                if self._on_segment is not None:
                    self._on_segment(self._segments[-1])

    def result(self, facts: JobFacts) -> TranscriptResult:
        """Return the whole transcript; segments bring the spaces between them."""
        return TranscriptResult(
            text="".join(segment.text for segment in self._segments).strip(),
            segments=tuple(self._segments),
            language=self._language,
            duration_s=sum(part.output_units for part in facts["route"].segments) / _MS_PER_S,
            **facts,
        )


def _spoken(frame: SegmentFrame) -> SpokenSegment:
    words = None
    if frame.words is not None:
        words = tuple(SpokenWord(word.text, word.start_ms / _MS_PER_S, word.end_ms / _MS_PER_S) for word in frame.words)
    return SpokenSegment(frame.text, frame.start_ms / _MS_PER_S, frame.end_ms / _MS_PER_S, words)
