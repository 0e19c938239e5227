"""The fingerprint of a loaded model: equal on two nodes exactly where one can continue the other's answer."""

import hashlib

from gpunode_protocol import canonical


def fingerprint(
    weights_digest: bytes, quantisation: str, chat_template: str, backend: str, backend_version: str
) -> bytes:
    """Return SHA-256 over the canonical map of what shapes an answer, 32 bytes.

    A GGUF file holds tokenizer and chat template, so the weights' digest covers those.

    Args:
        weights_digest: SHA-256 of the weights, 32 bytes (see ``file_digests.weights_digest``).
        quantisation: type of the weights as the file's header names it.
        chat_template: what replaces the file's own template, empty = nothing.
        backend: backend name.
        backend_version: version of its library.
    """
    parts = {
        "backend": backend,
        "backend_version": backend_version,
        "chat_template": chat_template,
        "quantisation": quantisation,
        "weights": weights_digest,
    }
    return hashlib.sha256(canonical.encode(parts)).digest()
