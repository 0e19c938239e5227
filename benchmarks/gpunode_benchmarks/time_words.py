"""Instants as words of six letters, so that a token's text says when it was put out. Pure."""

WORD_BYTES = 6

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MICROSECONDS_PER_S = 1_000_000
_MODULUS = len(_DIGITS) ** WORD_BYTES
"""Microseconds until the words begin anew: 15.8 hours."""


def word_of(instant_s: float) -> str:
    """Return the word of an instant of a monotonic clock, >= 0, to the microsecond."""
    rest = int(instant_s * _MICROSECONDS_PER_S) % _MODULUS
    letters = []
    for _ in range(WORD_BYTES):
        rest, digit = divmod(rest, len(_DIGITS))
        letters.append(_DIGITS[digit])
    return "".join(reversed(letters))


def age_s(word: str, now_s: float) -> float:
    """Return the seconds from a word's instant to ``now_s`` of the same clock, less than 15.8 hours later.

    Raises:
        ValueError: this is no such word.
    """
    if len(word) != WORD_BYTES:
        raise ValueError(f"{word!r} is not a word of {WORD_BYTES} letters.")
    instant = 0
    for letter in word:
        instant = instant * len(_DIGITS) + _DIGITS.index(letter)
    microseconds: int = (int(now_s * _MICROSECONDS_PER_S) - instant) % _MODULUS
    return microseconds / _MICROSECONDS_PER_S
