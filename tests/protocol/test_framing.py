"""Frames on a stream."""

import pytest
from gpunode_protocol.errors import FrameTooLong
from gpunode_protocol.framing import HEADER_BYTES, MAX_FRAME_BYTES, FrameParser, frame
from hypothesis import given
from hypothesis import strategies as st

PAYLOADS = st.lists(st.binary(max_size=300), max_size=6)


def test_known_bytes() -> None:
    """Four bytes of length, most significant first, then the payload."""
    assert frame(b"abc") == b"\0\0\0\x03abc"
    assert frame(b"") == b"\0\0\0\0"


@given(PAYLOADS, st.data())
def test_any_split_gives_the_same_frames(payloads: list[bytes], data: st.DataObject) -> None:
    """However the bytes are cut, the same payloads come out in order."""
    stream = b"".join(frame(payload) for payload in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    parser, got = FrameParser(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += parser.feed(stream[start:end])
    assert got == payloads
    assert parser.is_empty


def test_byte_by_byte() -> None:
    """A frame is complete with its last byte and not before."""
    parser = FrameParser()
    stream = frame(b"abc")
    assert [parser.feed(stream[number : number + 1]) for number in range(len(stream))] == [[]] * 6 + [[b"abc"]]


def test_a_cut_stream_is_noticed() -> None:
    """A stream that ends inside a header or a payload does not end well."""
    for count in range(1, 7):
        parser = FrameParser()
        assert parser.feed(frame(b"abc")[:count]) == []
        assert not parser.is_empty


def test_largest_frame() -> None:
    """A payload of 1 MiB travels, one byte more does not."""
    payload = bytes(MAX_FRAME_BYTES)
    assert FrameParser().feed(frame(payload)) == [payload]
    with pytest.raises(FrameTooLong):
        frame(payload + b"\0")


@pytest.mark.parametrize("size", [MAX_FRAME_BYTES + 1, 2**31, 2**32 - 1])
def test_bogus_header(size: int) -> None:
    """A header that announces too much is refused at once: nothing is reserved or awaited for it."""
    parser = FrameParser()
    with pytest.raises(FrameTooLong):
        parser.feed(size.to_bytes(HEADER_BYTES, "big"))


def test_unusable_after_a_bogus_header() -> None:
    """After a bogus header nothing is read any more."""
    parser = FrameParser()
    for data in (b"\xff\xff\xff\xff", frame(b"abc")):
        with pytest.raises(FrameTooLong):
            parser.feed(data)


def test_whole_frames_before_a_bogus_header() -> None:
    """What came whole counts, though the same read ends the stream's use."""
    parser = FrameParser()
    assert parser.feed(frame(b"abc") + frame(b"") + b"\xff\xff\xff\xff") == [b"abc", b""]
    for _ in range(2):
        with pytest.raises(FrameTooLong):
            parser.feed(b"")
    assert not parser.is_empty


def test_smaller_limit() -> None:
    """A probe stream allows less."""
    parser = FrameParser(4)
    assert parser.feed(frame(b"abcd")) == [b"abcd"]
    with pytest.raises(FrameTooLong):
        parser.feed(frame(b"abcde"))


@given(st.lists(st.binary(max_size=50), max_size=10))
def test_random_bytes(chunks: list[bytes]) -> None:
    """Random bytes are frames or FrameTooLong, and never more is kept than was fed."""
    parser = FrameParser()
    fed = 0
    for chunk in chunks:
        fed += len(chunk)
        try:
            payloads = parser.feed(chunk)
        except FrameTooLong:
            return
        assert sum(map(len, payloads)) <= fed
