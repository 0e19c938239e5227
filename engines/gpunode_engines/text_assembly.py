"""From token bytes to answer text: whole characters only, stop texts cut off, resumable at any token."""

import codecs
from collections.abc import Iterable

from gpunode_engines.errors import ResumeRefused


class TextAssembler:
    """Feeds on the bytes of one answer's tokens in order; deterministic, so replaying the same tokens gives the same.

    Text is held back while it could still become a stop text; a character is held back until its last byte.
    """

    def __init__(self, stop: Iterable[str] = ()) -> None:
        self._stops = tuple(stop)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False  #: a stop text came; what follows is ignored

    def push(self, piece: bytes) -> str:
        """Take the bytes of the next token and return the text that is certain now."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(piece)
        cut = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            self._held = ""
            return text[:cut]
        keep = max((overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """Return what was held back for a stop text that did not come; an incomplete character is dropped."""
        text, self._held = self._held, ""
        return text

    def replay(self, pieces: Iterable[bytes], text_offset: int) -> str:
        """Take the tokens of an interrupted answer and return the text that its reader has not seen.

        Args:
            pieces: bytes of each token that the reader has.
            text_offset: UTF-8 bytes of text that the reader has, >= 0.

        Raises:
            ResumeRefused: these tokens do not give that much text, or the offset is inside a character.
        """
        released = "".join(self.push(piece) for piece in pieces).encode()
        if text_offset > len(released):
            raise ResumeRefused(
                f"The ids give {len(released)} bytes of text, but the offset is {text_offset}; start the job again."
            )
        try:
            return released[text_offset:].decode()
        except UnicodeDecodeError as error:
            raise ResumeRefused(f"The text offset {text_offset} is inside a character; start the job again.") from error


def overlap(text: str, stop: str) -> int:
    """Return the length of the longest end of ``text`` that is a beginning of ``stop``, but not all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
