import hashlib

import pytest
from gpunode_engines.fingerprint import fingerprint
from gpunode_protocol import canonical

PARTS = {
    "weights_digest": bytes(32),
    "quantisation": "Q4_1",
    "chat_template": "",
    "backend": "llamacpp",
    "backend_version": "1",
}


def test_it_is_the_hash_of_the_canonical_map() -> None:
    """Anyone can compute it from the documented parts."""
    parts = {"backend": "llamacpp", "backend_version": "1", "chat_template": "", "quantisation": "Q4_1"}
    expected = hashlib.sha256(canonical.encode(parts | {"weights": bytes(32)})).digest()
    assert fingerprint(**PARTS) == expected  # type: ignore[arg-type]  # -- the map above has the right types


@pytest.mark.parametrize("name", PARTS)
def test_every_part_counts(name: str) -> None:
    """Whatever shapes an answer shapes the fingerprint."""
    changed = PARTS | {name: bytes([1]) * 32 if name == "weights_digest" else "other"}
    assert fingerprint(**changed) != fingerprint(**PARTS)  # type: ignore[arg-type]  # -- the map above has the right types
