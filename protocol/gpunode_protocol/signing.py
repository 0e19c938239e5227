r"""Signed bodies: what is signed is ``gpunode/1/<type>\0`` and the exact bytes that travel, never a re-encoding."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from gpunode_protocol import PROTOCOL_VERSION, canonical
from gpunode_protocol.errors import BadSignature, MalformedMessage, UnsupportedVersion
from gpunode_protocol.identity import Identity, signature_is_valid
from gpunode_protocol.validation import first_problem


class WireModel(BaseModel):
    """Base of everything on the wire: frozen, strict types, unknown keys ignored, absent fields left out."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="ignore",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        hide_input_in_errors=True,  # a prompt that does not validate must not come into a log with its error
    )

    def to_map(self) -> dict[str, Any]:
        """Return the map that travels; fields that are None are left out."""
        return self.model_dump(exclude_none=True)

    @classmethod
    def from_map(cls, value: Any) -> Self:
        """Read a decoded map.

        Raises:
            MalformedMessage: a field is missing, of the wrong type or out of range; the message names it.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise MalformedMessage(f"{cls.__name__}: {first_problem(error)}") from error


class Envelope(WireModel):
    """A signed body as it travels inside a frame, a DHT record or a REST body.

    body: the canonical bytes that were signed. signature: 64 bytes of ed25519.
    """

    body: bytes
    signature: bytes


class SignedBody(WireModel):
    """Base of a body that gets signed. ``v`` is the protocol version, ``network`` the network id (40 hex digits)."""

    signature_type: ClassVar[str]

    v: int = PROTOCOL_VERSION
    network: str


class ClosedBody(SignedBody):
    """A signed body without room (vouchers and receipts: money): an unknown key, at any depth, is refused.

    Every field has to be there unless it is None, and None does not travel, so that one content has one encoding.
    """

    model_config = ConfigDict(extra="forbid")


B = TypeVar("B", bound=SignedBody)


@dataclass(frozen=True)
class Signed(Generic[B]):
    """A body with the bytes that carry it; it has verified: only ``sign`` and the two ``open_…`` below make it."""

    body: B
    envelope: Envelope

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the body's bytes, 32 bytes: how other messages refer to this one."""
        return hashlib.sha256(self.envelope.body).digest()


def signing_input(signature_type: str, body: bytes) -> bytes:
    """Return the bytes that a signature covers."""
    return f"gpunode/{PROTOCOL_VERSION}/{signature_type}\0".encode() + body


def sign(identity: Identity, body: B) -> Signed[B]:
    """Sign a body with an identity's key."""
    data = canonical.encode(body.to_map())
    return Signed(body, Envelope(body=data, signature=identity.sign_bytes(signing_input(body.signature_type, data))))


def read_body(model: type[B], envelope: Envelope) -> B:
    """Read an envelope's body *without* checking its signature (to learn which key should have signed it).

    Raises:
        NotCanonical, MalformedMessage: the body cannot be read. UnsupportedVersion: it is of another version.
    """
    value = canonical.decode(envelope.body)
    if value.get("v") != PROTOCOL_VERSION:
        raise UnsupportedVersion(f"{model.__name__}: protocol version {value.get('v')!r} is not spoken here, only 1.")
    body = model.from_map(value)
    if issubclass(model, ClosedBody) and canonical.encode(body.to_map()) != envelope.body:
        raise MalformedMessage(f"{model.__name__}: it has an unknown key, an explicit nil, or lacks a field.")
    return body


def open_signed(model: type[B], envelope: Envelope, public_key: bytes) -> Signed[B]:
    """Check and read a signed body.

    Args:
        model: what the body should be; its ``signature_type`` is part of what was signed.
        envelope: as received.
        public_key: 32 bytes, of the one who should have signed.

    Raises:
        BadSignature: not signed by that key as that type.
        NotCanonical, MalformedMessage: the body cannot be read.
    """
    _check_signature(model, envelope, public_key)
    return Signed(read_body(model, envelope), envelope)


def open_self_named(model: type[B], envelope: Envelope, signer: Callable[[B], bytes]) -> Signed[B]:
    """Check and read a signed body that says itself who should have signed it.

    Args:
        model: what the body should be.
        envelope: as received.
        signer: returns the signer's public key (32 bytes) from the body, which is *not* verified then; may raise.

    Raises:
        NotCanonical, MalformedMessage, UnsupportedVersion: the body cannot be read.
        BadSignature: not signed by that key as that type.
    """
    body = read_body(model, envelope)
    _check_signature(model, envelope, signer(body))
    return Signed(body, envelope)


def _check_signature(model: type[SignedBody], envelope: Envelope, public_key: bytes) -> None:
    if not signature_is_valid(public_key, signing_input(model.signature_type, envelope.body), envelope.signature):
        raise BadSignature(f"The signature of this {model.signature_type} does not verify.")
