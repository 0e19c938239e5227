"""Leaves out of an answer that was begun anew what the caller has seen already, as long as it is the same. Pure."""

from collections.abc import Sequence

from gpunode_protocol.messages import TokenLogprob, TokensFrame


class CannotGoOn(Exception):
    """What is missing of an answer cannot be asked for, or was not given; the message says why."""


class AnotherAnswer(CannotGoOn):
    """The new answer is not the one whose beginning was seen."""

    def __init__(self) -> None:
        super().__init__("A second node gave another answer than the one whose beginning you have.")


class SeenPrefix:
    """Compares token by token and character by character.

    Args:
        ids: tokens that were seen.
        text: text that was seen; it may lag behind the tokens.
    """

    def __init__(self, ids: Sequence[int], text: str) -> None:
        self._ids = tuple(ids)
        self._text = text

    def cut(self, frame: TokensFrame) -> TokensFrame:
        """Return what of a frame is new.

        Raises:
            AnotherAnswer: it differs from what was seen.
        """
        known = min(len(self._ids), len(frame.ids))
        shown = min(len(self._text), len(frame.text))
        if tuple(frame.ids[:known]) != self._ids[:known] or frame.text[:shown] != self._text[:shown]:
            raise AnotherAnswer
        self._ids, self._text = self._ids[known:], self._text[shown:]
        ids = frame.ids[known:]
        logprobs = None if frame.logprobs is None else _of_last(frame.logprobs, frame.ids, len(ids))
        return frame.model_copy(update={"ids": ids, "text": frame.text[shown:], "logprobs": logprobs})

    def end(self) -> None:
        """Raise ``AnotherAnswer`` if the new answer ended before what was seen."""
        if self._ids or self._text:
            raise AnotherAnswer


def _of_last(entries: Sequence[TokenLogprob], ids: Sequence[int], count: int) -> tuple[TokenLogprob, ...]:
    """Return the entries of the last ``count`` tokens. They come in the tokens' order; entries may be missing."""
    first, end = len(ids) - count, len(ids)
    kept: list[TokenLogprob] = []
    for entry in reversed(entries):
        at = next((at for at in range(end - 1, first - 1, -1) if ids[at] == entry.id), None)
        if at is not None:
            kept.append(entry)
            end = at
    return tuple(reversed(kept))
