"""Revocation lists."""

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import open_signed

from tests.protocol.samples import TRACKER, revocations


def test_round_trip() -> None:
    """A list is read as it was signed."""
    signed = revocations(grants=("g1", "g2"), certificates=())
    body = open_signed(Revocations, signed.envelope, TRACKER.public_key).body
    assert (body.grants, body.certificates, body.sequence) == (("g1", "g2"), (), 5)


def test_entries_are_names() -> None:
    """An entry that can be no jti or serial is refused."""
    with pytest.raises(MalformedMessage):
        Revocations.from_map({**revocations().body.to_map(), "grants": ("a b",)})
