"""Heads of the ledger's log."""

import pytest
from gpunode_protocol.errors import MalformedMessage
from gpunode_protocol.signing import open_signed, sign
from gpunode_protocol.tree_head import TreeHead

from tests.protocol.samples import KID, NETWORK, NOW, TRACKER

HEAD = TreeHead(network=NETWORK, log="log-1", epoch=2, size=9, root=b"\x07" * 32, issued_at=NOW, kid=KID)


def test_round_trip() -> None:
    """A head is read as it was signed."""
    assert open_signed(TreeHead, sign(TRACKER, HEAD).envelope, TRACKER.public_key).body == HEAD


@pytest.mark.parametrize("change", [{"size": -1}, {"root": b""}, {"log": ""}, {"epoch": None}])
def test_fields_have_limits(change: dict[str, object]) -> None:
    """A head without root, size or log is refused."""
    with pytest.raises(MalformedMessage):
        TreeHead.from_map({**HEAD.to_map(), **change})
