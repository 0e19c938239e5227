"""Digests of requests and answers, computed again by hand."""

import hashlib
import hmac

from gpunode_protocol.digests import SALT_BYTES, Transcript, salted_digest
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import SALT


def _hmac(data: bytes, salt: bytes = SALT) -> bytes:
    """HMAC by RFC 2104's formula."""
    key = salt.ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + data).digest()
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner).digest()


def test_hmac_formula() -> None:
    """The formula here is the library's."""
    assert _hmac(b"data") == hmac.digest(SALT, b"data", hashlib.sha256)
    assert len(SALT) == SALT_BYTES


def test_salted_digest() -> None:
    """Purpose, a zero byte and the data under the salt."""
    assert salted_digest(SALT, "prompt", b"data") == _hmac(b"prompt\0data")


def test_purposes_differ() -> None:
    """One purpose's digest is never another's."""
    assert len({salted_digest(SALT, purpose, b"x") for purpose in ("request", "prompt", "blob", "output")}) == 4


def test_empty_transcript() -> None:
    """Nothing sent has a digest, too."""
    assert Transcript(SALT).digest() == _hmac(b"output\0")


def test_tokens_record() -> None:
    """01, count, ids, length of the text, text."""
    transcript = Transcript(SALT)
    transcript.add_tokens([1, 2**32 - 1], "é")
    record = bytes.fromhex("01 00000002 00000001 ffffffff 00000002") + "é".encode()
    assert transcript.digest() == _hmac(b"output\0" + record)


def test_segment_record() -> None:
    """02, start, end, length of the text, text."""
    transcript = Transcript(SALT)
    transcript.add_segment(1_000, 2_500, "hi")
    record = bytes.fromhex("02 00000000000003e8 00000000000009c4 00000002") + b"hi"
    assert transcript.digest() == _hmac(b"output\0" + record)


def test_blob_record() -> None:
    """03, id, digest."""
    transcript = Transcript(SALT)
    transcript.add_blob(255, b"\x11" * 32)
    assert transcript.digest() == _hmac(b"output\0" + b"\x03\xff" + b"\x11" * 32)


def test_running_digest() -> None:
    """Asking for the digest does not end the transcript."""
    transcript = Transcript(SALT)
    transcript.add_tokens([1], "a")
    first = transcript.digest()
    assert transcript.digest() == first
    transcript.add_tokens([2], "b")
    assert transcript.digest() != first


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2**32 - 1), max_size=3), st.text(max_size=3)), max_size=4),
    st.lists(st.tuples(st.lists(st.integers(0, 2**32 - 1), max_size=3), st.text(max_size=3)), max_size=4),
)
def test_transcripts_are_unambiguous(one: list[tuple[list[int], str]], other: list[tuple[list[int], str]]) -> None:
    """Two sequences of frames have one digest only when they are equal."""
    digests = []
    for frames in (one, other):
        transcript = Transcript(SALT)
        for ids, text in frames:
            transcript.add_tokens(ids, text)
        digests.append(transcript.digest())
    assert (digests[0] == digests[1]) == (one == other)


def test_salt_matters() -> None:
    """Without the salt nobody can guess what a digest stands for."""
    assert salted_digest(SALT, "request", b"yes") != salted_digest(bytes(32), "request", b"yes")
