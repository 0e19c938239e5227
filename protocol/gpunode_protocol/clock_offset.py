"""How far this computer's clock may be from the others', and how that is told."""

from gpunode_protocol.requests import ISSUED_AT_TOLERANCE_S

WORTH_A_WORD_S = 3.0
"""Seconds from which on an offset is told: stock hivemind peers refuse each other beyond it (decision 0002)."""

TOLERATED_S = float(ISSUED_AT_TOLERANCE_S)
"""Seconds beyond which nothing works: nodes refuse the requests, grants and certificates do not verify."""

CLOCK_FIX = "Set the clock by NTP; on Linux: sudo timedatectl set-ntp true"

_HALF_A_SECOND = 0.5


def offset_to_tracker(asked_at: float, answered_at: float, tracker_time: int) -> float:
    """Return the seconds by which this clock is ahead of the tracker's.

    Args:
        asked_at, answered_at: this clock before the request and after the answer, Unix seconds.
        tracker_time: the tracker's clock between the two, cut to whole seconds; so the result is good to half a
            second, and to half the round trip.
    """
    return (asked_at + answered_at) / 2 - (tracker_time + _HALF_A_SECOND)


def is_beyond_tolerance(offset_s: float | None) -> bool:
    """Whether nothing works with this offset; None = it was not measured."""
    return offset_s is not None and abs(offset_s) > TOLERATED_S


def describe_offset(offset_s: float, whose: str) -> str:
    """Return such as "This computer's clock is 120 s ahead of the tracker's"; ``whose``: the other clock."""
    direction = "ahead of" if offset_s > 0 else "behind"
    return f"This computer's clock is {abs(offset_s):.0f} s {direction} {whose}"
