"""Text from strangers, made safe for a terminal."""

import unicodedata
from typing import Final

_KEPT: Final = frozenset("\n\t")


def printable(text: str) -> str:
    """Return the text without control characters: escape sequences in an answer could rewrite the user's screen."""
    return "".join(char for char in text if char in _KEPT or unicodedata.category(char) != "Cc")


def short_id(node: str) -> str:
    """Return the end of a peer id; all of them begin alike."""
    return f"…{node[-8:]}" if len(node) > 9 else node


def milliseconds(value: float | None) -> str:
    """Return a duration for people."""
    return "-" if value is None else f"{value:.1f} ms" if value < 10 else f"{value:.0f} ms"
