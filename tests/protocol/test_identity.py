"""Keys, peer ids and the identity file."""

import base58
import pytest
from gpunode_protocol.errors import InvalidPeerId, MalformedMessage
from gpunode_protocol.identity import Identity, parse_peer_id, peer_id_of, public_key_of, signature_is_valid

from tests.protocol.samples import CLIENT, NODE


def test_peer_id_of_a_published_libp2p_key() -> None:
    """The ed25519 test key of libp2p's peer id specification gives the protobuf that the specification prints."""
    # https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md#test-vectors
    private = bytes.fromhex(
        "080112407e0830617c4a7de83925dfb2694556b12936c477a0e1feb2e148ec9da60fee7d"
        "1ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e"
    )
    public = bytes.fromhex("080112201ed1e8fae2c4a144b8be8fd4b47bf3d3b34b871c3cacf6010f0e42d474fce27e")
    identity = Identity.from_libp2p(private)
    assert identity.to_libp2p() == private
    assert base58.b58decode(identity.peer_id) == b"\x00\x24" + public


def test_peer_id_of_a_known_text() -> None:
    """A peer id printed in libp2p's specification reads as an ed25519 key and writes back."""
    text = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"
    assert peer_id_of(public_key_of(text)) == text


def test_peer_id_holds_the_public_key() -> None:
    """A peer id gives its public key back."""
    assert public_key_of(NODE.peer_id) == NODE.public_key


@pytest.mark.parametrize("text", ["{}\n", " {}", "{} ", "\t{}", "1{}"])
def test_only_one_text_names_a_peer(text: str) -> None:
    """White space or a leading zero digit around a peer id is refused, so that no peer has two names."""
    with pytest.raises(InvalidPeerId):
        parse_peer_id(text.format(NODE.peer_id))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12D3KooW",
        "Qm" + "Y" * 44,
        "0" * 52,
        "é" * 52,
        "\ud800",
        "1" * 10_000,
        base58.b58encode(bytes.fromhex("002508021221") + NODE.public_key).decode(),
    ],
)
def test_other_texts_are_no_peer_ids(text: str) -> None:
    """Everything that is not an ed25519 peer id raises InvalidPeerId."""
    with pytest.raises(InvalidPeerId):
        parse_peer_id(text)


def test_public_key_has_32_bytes() -> None:
    """A key of another length has no peer id."""
    with pytest.raises(InvalidPeerId):
        peer_id_of(b"\0" * 31)


def test_signature_verifies() -> None:
    """A signature holds for its message and key only."""
    signature = NODE.sign_bytes(b"message")
    assert signature_is_valid(NODE.public_key, b"message", signature)
    assert not signature_is_valid(NODE.public_key, b"messages", signature)
    assert not signature_is_valid(CLIENT.public_key, b"message", signature)


@pytest.mark.parametrize(("key_bytes", "signature_bytes"), [(32, 0), (32, 63), (32, 65), (31, 64), (0, 64)])
def test_signature_of_a_wrong_length_is_invalid(key_bytes: int, signature_bytes: int) -> None:
    """An absent, short or long signature or key never verifies and never raises."""
    assert not signature_is_valid(NODE.public_key[:key_bytes], b"", b"\1" * signature_bytes)


@pytest.mark.parametrize("point", ["00" * 32, "01" + "00" * 31, "ec" + "ff" * 30 + "7f"])
def test_low_order_keys_sign_nothing(point: str) -> None:
    """A public key of low order, under which one signature would fit many messages, is refused."""
    key = bytes.fromhex(point)
    assert not signature_is_valid(key, b"any", key + b"\0" * 32)


def test_signature_with_the_order_added_is_invalid() -> None:
    """A signature's scalar has one representation (RFC 8032 5.1.7): nobody can make a second signature of one."""
    order = 2**252 + 27742317777372353535851937790883648493
    signature = NODE.sign_bytes(b"message")
    scalar = int.from_bytes(signature[32:], "little") + order
    assert not signature_is_valid(NODE.public_key, b"message", signature[:32] + scalar.to_bytes(32, "little"))


def test_identity_file_round_trip() -> None:
    """An identity survives its file format."""
    identity = Identity.generate()
    again = Identity.from_libp2p(identity.to_libp2p())
    assert (again.seed, again.peer_id) == (identity.seed, identity.peer_id)


@pytest.mark.parametrize("data", [b"", b"\x08\x01\x12\x40", NODE.to_libp2p()[:-1], NODE.to_libp2p() + b"\0"])
def test_truncated_identity_file_is_refused(data: bytes) -> None:
    """A file of another length is no identity file."""
    with pytest.raises(MalformedMessage, match="not an ed25519 identity file"):
        Identity.from_libp2p(data)


@pytest.mark.parametrize("position", [4, 35, 36, 67])
def test_damaged_identity_file_is_refused(position: int) -> None:
    """A file whose seed and public key do not belong together is refused."""
    data = bytearray(NODE.to_libp2p())
    data[position] ^= 1
    with pytest.raises(MalformedMessage, match="damaged"):
        Identity.from_libp2p(bytes(data))


def test_other_key_type_is_refused() -> None:
    """An RSA identity file is no ed25519 identity file."""
    with pytest.raises(MalformedMessage):
        Identity.from_libp2p(b"\x08\x00\x12\x40" + NODE.to_libp2p()[4:])


def test_repr_keeps_the_secret() -> None:
    """The text form of an identity shows the peer id and nothing of the seed."""
    identity = Identity.from_seed(b"\x03" * 32)
    assert repr(identity) == f"Identity({identity.peer_id})"
    assert identity.seed.hex() not in repr(identity)
