"""Cutting blobs into frames and putting them together again."""

from typing import Any

import pytest
from gpunode_protocol.blobs import Blob, BlobAssembler, blob_frames
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.messages import MAX_BLOB_CHUNK_BYTES, BlobFrame
from gpunode_protocol.outputs import blob_digest
from gpunode_protocol.payloads import BlobRef
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import SALT

PICTURE = Blob(id=3, media_type="image/png", data=bytes(range(256)) * 2_100, units=64)  # two pieces and a bit
REF = BlobRef(id=3, size_bytes=len(PICTURE.data), digest=blob_digest(SALT, PICTURE.data), media_type="image/png")


def _pieces(blob: Blob = PICTURE) -> list[BlobFrame]:
    return list(blob_frames(blob, SALT))


def _assembler(**changes: Any) -> BlobAssembler:
    return BlobAssembler(**{"salt": SALT, "max_total_bytes": 1_000_000, **changes})


def _refused(assembler: BlobAssembler, *pieces: BlobFrame) -> str:
    """Return why the last piece is refused."""
    for piece in pieces[:-1]:
        assembler.add(piece)
    with pytest.raises(JobError) as caught:
        assembler.add(pieces[-1])
    assert caught.value.code is ErrorCode.BLOB_INVALID
    return caught.value.message


def test_pieces() -> None:
    """Every piece says what the whole is; only the last is shorter than 256 KiB."""
    pieces = _pieces()
    assert [len(piece.data) for piece in pieces] == [MAX_BLOB_CHUNK_BYTES, MAX_BLOB_CHUNK_BYTES, 13_312]
    assert [piece.offset for piece in pieces] == [0, 262_144, 524_288]
    assert {(p.id, p.media_type, p.total_bytes, p.digest, p.units) for p in pieces} == {
        (3, "image/png", 537_600, REF.digest, 64)
    }


def test_assembled() -> None:
    """The blob is returned with its last piece."""
    assembler = _assembler()
    assert [assembler.add(piece) for piece in _pieces()] == [None, None, PICTURE]


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=6), st.data())
def test_interleaved(contents: list[bytes], data: st.DataObject) -> None:
    """Blobs may be interleaved in any way that keeps each one's order."""
    queues = []
    for number, content in enumerate(contents):
        whole = _pieces(Blob(id=number, media_type="text/plain", data=content))[0]
        cut = data.draw(st.integers(1, len(content)))
        halves = [whole.model_copy(update={"data": content[:cut]})]
        if cut < len(content):
            halves.append(whole.model_copy(update={"data": content[cut:], "offset": cut}))
        queues.append(halves)
    assembler, got = _assembler(), {}
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        blob = assembler.add(queue.pop(0))
        if blob is not None:
            got[blob.id] = blob.data
    assert got == dict(enumerate(contents))


def test_gap() -> None:
    """A piece that is missing is noticed with the next one."""
    first, _, third = _pieces()
    assert "out of order" in _refused(_assembler(), first, third)


def test_piece_twice() -> None:
    """A repeated piece is refused."""
    first, *_ = _pieces()
    assert "out of order" in _refused(_assembler(), first, first)


def test_first_piece_missing() -> None:
    """A blob begins at its beginning."""
    _, second, _ = _pieces()
    assert "out of order" in _refused(_assembler(), second)


def test_beyond_its_size() -> None:
    """A blob cannot be longer than declared."""
    small = _pieces(Blob(id=0, media_type="text/plain", data=b"abc"))[0]
    assert "too long" in _refused(_assembler(), small.model_copy(update={"data": b"abcd"}))


def test_blob_twice() -> None:
    """An id is used once."""
    small = _pieces(Blob(id=0, media_type="text/plain", data=b"abc"))[0]
    assert "twice" in _refused(_assembler(), small, small)


def test_wrong_digest() -> None:
    """A blob whose bytes were changed is refused."""
    small = _pieces(Blob(id=0, media_type="text/plain", data=b"abc"))[0]
    assert "digest" in _refused(_assembler(), small.model_copy(update={"data": b"abd"}))


def test_total_is_bounded() -> None:
    """What is declared counts at once, before its bytes come."""
    pieces = [_pieces(Blob(id=number, media_type="text/plain", data=b"abc"))[0] for number in range(2)]
    huge = pieces[1].model_copy(update={"total_bytes": 98})
    assert "more than 100 bytes" in _refused(_assembler(max_total_bytes=100), pieces[0], huge)


@pytest.mark.parametrize(
    "change", [{"digest": b"\0" * 32}, {"units": 65}, {"media_type": "image/jpeg"}, {"total_bytes": 600_000}]
)
def test_pieces_agree(change: dict[str, Any]) -> None:
    """A later piece cannot say something else of the whole than the first: its digest goes into the transcript."""
    first, second, third = _pieces()
    assert "another" in _refused(_assembler(), first, second, third.model_copy(update=change))


def test_empty_blob() -> None:
    """An empty blob cannot travel, so that its sender has to know."""
    with pytest.raises(JobError):
        _pieces(Blob(id=0, media_type="text/plain", data=b""))


def test_inputs_are_those_of_the_request() -> None:
    """Inputs match what the signed request refers to, and it is known when all are there."""
    assembler = _assembler(expected=(REF,))
    assert not assembler.is_complete
    assert [assembler.add(piece) for piece in _pieces(Blob(3, "image/png", PICTURE.data))][-1] is not None
    assert assembler.is_complete
    assert _assembler().is_complete


@pytest.mark.parametrize(
    "blob",
    [
        Blob(4, "image/png", PICTURE.data),
        Blob(3, "image/jpeg", PICTURE.data),
        Blob(3, "image/png", PICTURE.data[:-1]),
        Blob(3, "image/png", b"x" + PICTURE.data[1:]),
        PICTURE,
    ],
    ids=["id", "type", "size", "bytes", "units"],
)
def test_inputs_that_the_request_does_not_name(blob: Blob) -> None:
    """An input that the client did not sign for is refused with its first piece."""
    assert "request" in _refused(_assembler(expected=(REF,)), _pieces(blob)[0])
