"""Adverts and their bytes."""

from typing import Any

import pytest
from gpunode_protocol.adverts import MAX_ADVERT_BYTES, Advert, open_advert, pack_advert, unpack_advert
from gpunode_protocol.errors import BadSignature, MalformedMessage, ProtocolError
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope, sign

from tests.protocol.samples import NODE, STRANGER, advert_body, signed_advert


def test_round_trip() -> None:
    """A stored advert is read back."""
    advert = signed_advert()
    assert unpack_advert(pack_advert(advert.envelope)) == advert
    assert open_advert(advert.envelope) == advert


def test_ordinary_advert_fits() -> None:
    """An advert with everything in it has room to spare."""
    assert len(pack_advert(signed_advert().envelope)) < 1_000


def test_size_limit() -> None:
    """An advert of 1,400 bytes is stored, a larger one neither stored nor read."""
    address = "/ip4/203.0.113.7/tcp/4001"
    least = len(pack_advert(signed_advert(addresses=(address,) * 8).envelope))
    missing = MAX_ADVERT_BYTES - least
    addresses = [address + "x" * (missing // 8 - 2) for _ in range(8)]
    data = b""
    while len(data) < MAX_ADVERT_BYTES:
        data = pack_advert(signed_advert(addresses=tuple(addresses)).envelope)
        addresses[0] += "x"
    assert unpack_advert(data)
    too_large = signed_advert(addresses=tuple(addresses)).envelope
    with pytest.raises(MalformedMessage, match="1401 bytes"):
        pack_advert(too_large)
    with pytest.raises(MalformedMessage):
        unpack_advert(pack(too_large.to_map()))
    with pytest.raises(ProtocolError):
        open_advert(Envelope(body=b"x" * 1_401, signature=b""))


def test_foreign_signature() -> None:
    """An advert is signed by the peer that it names."""
    with pytest.raises(BadSignature):
        open_advert(sign(STRANGER, advert_body()).envelope)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x90", b"\xff", pack({"body": b"", "signature": b""})])
def test_other_bytes(data: bytes) -> None:
    """Random bytes are no advert."""
    with pytest.raises(ProtocolError):
        unpack_advert(data)


@pytest.mark.parametrize(
    "change",
    [
        {"latitude": 91},
        {"longitude": -181},
        {"latitude": 1.5},
        {"country": "GER"},
        {"region": "atlantis"},
        {"rtt_ms": {"asia": -1}},
        {"rtt_ms": {"asia": 60_001}},
        {"path": "tunnel"},
        {"sandbox": 4},
        {"addresses": ("x" * 161,)},
        {"addresses": ("x",) * 9},
        {"load": {"active": -1}},
        {"gpu": {"model": "x" * 49, "count": 1, "memory_mb": 1}},
        {"peer": "someone"},
        {"tombstone": 1},
        {"certificate": None},
    ],
    ids=str,
)
def test_limits(change: dict[str, Any]) -> None:
    """Fields out of range are refused."""
    with pytest.raises(MalformedMessage):
        Advert.from_map({**advert_body().to_map(), **change})


def test_unknown_key_is_ignored() -> None:
    """A later version may add keys."""
    assert Advert.from_map({**advert_body().to_map(), "zeta": 1}) == advert_body()
    assert signed_advert().body.peer == NODE.peer_id
