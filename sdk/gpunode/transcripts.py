"""What ``transcribe`` returns, and the forms in which it is shown and kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from gpunode.errors import InvalidRequest
from gpunode.subtitles import to_json, to_srt, to_vtt
from gpunode.transcript_formats import TranscriptFormat, format_of
from gpunode.types import JobResult, SpokenSegment


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptResult(JobResult):
    """What was said in a file. language: ISO 639-1, empty = unknown. duration_s: of the audio that was decoded."""

    text: str
    segments: tuple[SpokenSegment, ...] = field(repr=False)
    language: str
    duration_s: float

    def to_srt(self) -> str:
        """Return the transcript as SubRip subtitles."""
        return to_srt(self.segments)

    def to_vtt(self) -> str:
        """Return the transcript as WebVTT subtitles."""
        return to_vtt(self.segments)

    def to_json(self, *, verbose: bool = True) -> str:
        """Return text, language, duration and segments, with words where there are some, as JSON; or the text alone."""
        if not verbose:
            return to_json(self.text)
        return to_json(self.text, language=self.language, duration_s=self.duration_s, segments=self.segments)

    def render(self, form: TranscriptFormat) -> str:
        """Return the transcript in one of five forms, as it stands in a file.

        Raises:
            InvalidRequest: there is no such form.
        """
        renderers: dict[str, Callable[[], str]] = {
            "text": lambda: self.text + "\n",
            "json": lambda: self.to_json(verbose=False) + "\n",
            "verbose_json": lambda: self.to_json() + "\n",
            "srt": self.to_srt,
            "vtt": self.to_vtt,
        }
        if form not in renderers:
            raise InvalidRequest(f"There is no form {form!r} of a transcript; there are {', '.join(renderers)}.")
        return renderers[form]()

    def save(self, path: str | Path, form: TranscriptFormat | None = None) -> None:
        """Write a file in a form, or as its suffix says.

        ``.srt``, ``.vtt``, ``.json`` (verbose), or anything else for text.

        Raises:
            InvalidRequest: there is no such form; nothing is written.
        """
        path = Path(path)
        content = self.render(form or format_of(path))
        path.write_text(content, encoding="utf-8")
