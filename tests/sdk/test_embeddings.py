"""Texts to parameters, bytes to vectors."""

import struct

import pytest
from gpunode._embeddings import embedding_params, read_vectors
from gpunode.errors import InvalidRequest, VerificationFailed
from gpunode_protocol.blobs import Blob


def _blob(*values: float) -> Blob:
    return Blob(id=0, media_type="application/octet-stream", data=struct.pack(f"<{len(values)}f", *values))


def test_one_text_is_a_list_of_one() -> None:
    """Both ways of calling mean the same."""
    assert embedding_params("a", normalize=True) == embedding_params(["a"], normalize=True)
    assert embedding_params(["a", "b"], normalize=False).inputs == ("a", "b")


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ([], "inputs"),
        (["x"] * 2049, "inputs"),
        (["x" * 900_000, "y" * 900_000], "1800"),
        ([1], "inputs"),
        (None, "a list of texts"),
    ],
)
def test_what_cannot_be_sent(inputs: list[str], named: str) -> None:
    """Nothing is sent, and the message says why."""
    with pytest.raises(InvalidRequest, match=named):
        embedding_params(inputs, normalize=True)


def test_vectors_keep_their_order() -> None:
    """Little-endian float32, row by row."""
    assert read_vectors(_blob(1, 2, 3, 4, 5, 6), 2) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


@pytest.mark.parametrize("blob", [None, _blob(1, 2, 3), Blob(id=0, media_type="x/y", data=b"abcde")])
def test_bytes_that_are_no_vectors(blob: Blob | None) -> None:
    """The node's answer does not verify then."""
    with pytest.raises(VerificationFailed, match="no 2 vectors"):
        read_vectors(blob, 2)
