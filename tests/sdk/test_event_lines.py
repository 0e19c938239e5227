"""Server-sent events from a tracker."""

import pytest
from gpunode._event_lines import MAX_EVENT_BYTES, EventLines
from gpunode.errors import TrackerError
from gpunode.types import QueueEvent

STREAM = (
    b': hello\n\nevent: queued\ndata: {"position":0}\n\n: nothing new\n\n'
    b'event: tokens\r\ndata: {"text":"\xc3\xa4"}\r\n\r\nid: 7\nretry: 5\n\nevent:done\ndata:{\ndata:"status":"x"}\n\n'
)
EVENTS = [
    QueueEvent("queued", {"position": 0}),
    QueueEvent("tokens", {"text": "ä"}),
    QueueEvent("done", {"status": "x"}),
]


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_events_however_they_are_cut(size: int) -> None:
    """Both line ends, comments, fields that say nothing, data on two lines."""
    lines = EventLines()
    found = [event for at in range(0, len(STREAM), size) for event in lines.feed(STREAM[at : at + size])]
    assert found == EVENTS


def test_half_an_event_is_none() -> None:
    """What was cut off is not given."""
    assert EventLines().feed(b'event: done\ndata: {"status":"x"}\n') == []


@pytest.mark.parametrize("data", [b"{", b"7", b"[]", b"[" * 100_000])
def test_what_is_no_event_of_a_tracker(data: bytes) -> None:
    """Names the likely cause."""
    with pytest.raises(TrackerError, match="same version"):
        EventLines().feed(b"event: x\ndata: " + data + b"\n\n")


def test_an_event_without_end() -> None:
    """Does not fill the memory, on one line or on many."""
    with pytest.raises(TrackerError, match="more than"):
        EventLines().feed(b"x" * (MAX_EVENT_BYTES + 1))
    line = b"data: " + b"x" * 100_000 + b"\n"
    with pytest.raises(TrackerError, match="more than"):
        EventLines().feed(line * (MAX_EVENT_BYTES // 100_000 + 1))


def test_what_brings_output() -> None:
    """And what tells the state."""
    assert QueueEvent("tokens", {}).is_output
    assert not QueueEvent("running", {}).is_output
