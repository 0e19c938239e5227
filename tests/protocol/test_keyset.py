"""Ids of networks and keys, and the key set's form."""

import hashlib

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.keyset import KeySet, TrackerKey, key_id_of, network_id_of
from gpunode_protocol.signing import open_signed, sign

from tests.protocol.samples import KID, NETWORK, ROOT, TRACKER, keyset_body


def test_network_id() -> None:
    """A network's id is the beginning of its root key's SHA-256."""
    assert hashlib.sha256(ROOT.public_key).digest()[:20].hex() == NETWORK == network_id_of(ROOT.public_key)


def test_key_id() -> None:
    """A key's id is the beginning of its SHA-256."""
    assert hashlib.sha256(TRACKER.public_key).digest()[:8].hex() == KID == key_id_of(TRACKER.public_key)


def test_round_trip() -> None:
    """A key set is read as it was signed, retired keys among it."""
    old = TrackerKey(kid="old", public_key=b"\x01" * 32, not_before=1, retired_at=2)
    signed = sign(ROOT, keyset_body(keys=(old, *keyset_body().keys)))
    assert open_signed(KeySet, signed.envelope, ROOT.public_key).body.keys[0] == old


@pytest.mark.parametrize("change", [{"public_key": b"\x01" * 31}, {"kid": ""}, {"not_before": -1}, {"retired_at": "x"}])
def test_fields_have_limits(change: dict[str, object]) -> None:
    """Keys of another length or without a beginning are refused."""
    fields = {"kid": "k", "public_key": b"\x01" * 32, "not_before": 0, **change}
    with pytest.raises(MalformedMessage):
        TrackerKey.from_map(fields)
