"""Embeddings: the caller's texts to signed parameters, and the node's blob to vectors."""

import array
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from gpunode_protocol.blobs import Blob
from gpunode_protocol.errors import MalformedMessage, VerificationFailed
from gpunode_protocol.payloads import EmbeddingParams

from gpunode._refusals import not_valid
from gpunode._request_size import check_size

_FLOAT_BYTES: Final = 4


def embedding_params(inputs: str | Sequence[str], *, normalize: bool) -> EmbeddingParams:
    """Return the parameters that are signed.

    Raises:
        InvalidRequest: no input, too many, or too much text.
    """
    if not isinstance(inputs, Iterable):  # a caller without a type checker
        raise not_valid("inputs must be a text or a list of texts")
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    try:
        params = EmbeddingParams.from_map({"inputs": texts, "normalize": normalize})
    except MalformedMessage as error:
        raise not_valid(error) from error
    check_size(params, "The texts")
    return params


def read_vectors(blob: Blob | None, inputs: int) -> tuple[tuple[float, ...], ...]:
    """Return the vectors in a blob of little-endian float32, shape (inputs, dimensions).

    Raises:
        VerificationFailed: there is no blob, or it cannot have that shape.
    """
    size = len(blob.data) if blob is not None else 0
    if blob is None or not size or size % (_FLOAT_BYTES * inputs):
        raise VerificationFailed(f"The node sent {size} bytes, which are no {inputs} vectors; ask another node.")
    values = array.array("f", blob.data)
    if sys.byteorder == "big":
        values.byteswap()
    dimensions = len(values) // inputs
    return tuple(tuple(values[start : start + dimensions]) for start in range(0, len(values), dimensions))
