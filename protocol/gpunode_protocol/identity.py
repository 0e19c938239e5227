"""The ed25519 key of a participant, which is its libp2p identity too: the peer id *is* the public key.

A peer id is the base58 text of the identity multihash ``00 24`` of the protobuf ``PublicKey{Ed25519, key}``
(https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md), so verifying needs no look-up.
"""

from functools import lru_cache
from typing import NewType

import base58
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from gpunode_protocol.errors import InvalidPeerId, MalformedMessage

PeerId = NewType("PeerId", str)
"""Base58 text of an ed25519 peer id, 52 characters, ``12D3KooW…``."""

PUBLIC_KEY_BYTES = 32
SEED_BYTES = 32
SIGNATURE_BYTES = 64

_REMEMBERED_PEER_IDS = 4096
"""Reading a peer id takes 30 µs, and every message names some; those of the peers in use are remembered."""

# protobuf PublicKey{Type=1 (Ed25519), Data=32 bytes} under an identity multihash of 36 bytes
_PEER_ID_PREFIX = bytes.fromhex("002408011220")
# protobuf PrivateKey{Type=1 (Ed25519), Data=64 bytes: seed, then public key}
_PRIVATE_KEY_PREFIX = bytes.fromhex("08011240")


def peer_id_of(public_key: bytes) -> PeerId:
    """Return the peer id of a 32-byte ed25519 public key."""
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise InvalidPeerId(f"An ed25519 public key has 32 bytes, not {len(public_key)}.")
    return PeerId(base58.b58encode(_PEER_ID_PREFIX + public_key).decode())


@lru_cache(maxsize=_REMEMBERED_PEER_IDS)
def public_key_of(peer_id: str) -> bytes:
    """Return the 32-byte public key inside a peer id.

    Raises:
        InvalidPeerId: the text is not an ed25519 peer id.
    """
    if len(peer_id) > 60:  # an attacker's text must not cost quadratic base58 time
        raise InvalidPeerId
    try:
        raw = base58.b58decode(peer_id)
    except ValueError as error:
        raise InvalidPeerId(f"{peer_id!r} is not a peer id: not base58.") from error
    if len(raw) != len(_PEER_ID_PREFIX) + PUBLIC_KEY_BYTES or not raw.startswith(_PEER_ID_PREFIX):
        raise InvalidPeerId(f"{peer_id!r} is not an ed25519 peer id (12D3KooW…).")
    if base58.b58encode(raw).decode() != peer_id:  # the decoder overlooks white space; a peer has one name only
        raise InvalidPeerId(f"{peer_id!r} has characters around the peer id; remove them.")
    return raw[len(_PEER_ID_PREFIX) :]


def parse_peer_id(text: str) -> PeerId:
    """Return ``text`` as a peer id, or raise ``InvalidPeerId``."""
    public_key_of(text)
    return PeerId(text)


def signature_is_valid(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` (64 bytes) over ``message`` is by ``public_key`` (32 bytes)."""
    if len(signature) != SIGNATURE_BYTES or len(public_key) != PUBLIC_KEY_BYTES:
        return False
    try:
        VerifyKey(public_key).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


class Identity:
    """An ed25519 key pair; ``repr`` shows the peer id only."""

    __slots__ = ("_signing_key", "peer_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        """Make the key pair of a 32-byte seed."""
        self._signing_key = SigningKey(seed)
        self.public_key = bytes(self._signing_key.verify_key)
        self.peer_id = peer_id_of(self.public_key)

    @classmethod
    def generate(cls) -> "Identity":
        """Return a new key from the operating system's random source."""
        return cls(bytes(SigningKey.generate()))

    @classmethod
    def from_seed(cls, seed: bytes) -> "Identity":
        """Return the key of a 32-byte seed."""
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The 32-byte secret seed."""
        return bytes(self._signing_key)

    def sign_bytes(self, data: bytes) -> bytes:
        """Return the 64-byte signature over ``data``; use ``signing.sign`` for messages."""
        return bytes(self._signing_key.sign(data).signature)

    def to_libp2p(self) -> bytes:
        """Return libp2p's private key protobuf, the format of the identity file."""
        return _PRIVATE_KEY_PREFIX + self.seed + self.public_key

    @classmethod
    def from_libp2p(cls, data: bytes) -> "Identity":
        """Read libp2p's private key protobuf.

        Raises:
            MalformedMessage: not an ed25519 key, or seed and public key do not belong together.
        """
        size = len(_PRIVATE_KEY_PREFIX) + SEED_BYTES + PUBLIC_KEY_BYTES
        if len(data) != size or not data.startswith(_PRIVATE_KEY_PREFIX):
            raise MalformedMessage("This is not an ed25519 identity file in libp2p's format.")
        identity = cls(data[len(_PRIVATE_KEY_PREFIX) :][:SEED_BYTES])
        if identity.public_key != data[-PUBLIC_KEY_BYTES:]:
            raise MalformedMessage("This identity file is damaged: its seed and public key do not belong together.")
        return identity

    def __repr__(self) -> str:
        """Show the peer id, never the secret."""
        return f"Identity({self.peer_id})"
