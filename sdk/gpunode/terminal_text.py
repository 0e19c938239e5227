"""Text from strangers, made safe for a terminal."""

import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t")

_BIDI_CONTROLS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Unicode's Bidi_Control (https://www.unicode.org/reports/tr9/): they show text in another order than it has."""


def is_control(char: str) -> bool:
    """Whether a character steers a terminal instead of being shown by it; line breaks and tabs do, too."""
    return unicodedata.category(char) == "Cc" or char in _BIDI_CONTROLS


def printable(text: str) -> str:
    """Return the text without control characters: escape sequences in an answer could rewrite the user's screen.

    Line breaks and tabs stay.
    """
    return "".join(char for char in text if char in _KEPT or not is_control(char))


def short_id(node: str) -> str:
    """Return the end of a peer id; all of them begin alike."""
    return f"…{node[-8:]}" if len(node) > 9 else node


def milliseconds(value: float | None) -> str:
    """Return a duration for people."""
    return "-" if value is None else f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
