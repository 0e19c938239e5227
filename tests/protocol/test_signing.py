"""Signed bodies: what a signature covers and what it does not let through."""

from typing import Any, ClassVar

import pytest
from gpunode_protocol import canonical
from gpunode_protocol.adverts import Advert
from gpunode_protocol.certificates import Certificate
from gpunode_protocol.errors import BadSignature, MalformedMessage, NotCanonical, ProtocolError, UnsupportedVersion
from gpunode_protocol.identity import Identity
from gpunode_protocol.keyset import KeySet
from gpunode_protocol.receipts import Receipt
from gpunode_protocol.requests import JobRequest
from gpunode_protocol.revocations import Revocations
from gpunode_protocol.signing import (
    ClosedBody,
    Envelope,
    SignedBody,
    open_self_named,
    open_signed,
    read_body,
    sign,
    signing_input,
)
from gpunode_protocol.tracker_api import Link, Registration
from gpunode_protocol.tree_head import TreeHead
from gpunode_protocol.trust import NodeIndex
from gpunode_protocol.vouchers import Voucher
from hypothesis import given
from hypothesis import strategies as st

from tests.protocol.samples import CLIENT, NETWORK, NODE, STRANGER

SIGNED_TYPES: dict[type[SignedBody], str] = {
    Advert: "advert",
    Certificate: "certificate",
    JobRequest: "request",
    KeySet: "keyset",
    Link: "link",
    NodeIndex: "node-index",
    Receipt: "receipt",
    Registration: "registration",
    Revocations: "revocations",
    TreeHead: "tree-head",
    Voucher: "voucher",
}


class Note(SignedBody):
    """A body for these tests."""

    signature_type: ClassVar[str] = "note"
    text: str
    extra: int | None = None


class ClosedNote(ClosedBody):
    """The same, closed, with a map inside."""

    signature_type: ClassVar[str] = "closed-note"
    text: str
    extra: int | None = None
    inner: Note | None = None


def _envelope(identity: Identity, signature_type: str, value: dict[str, Any]) -> Envelope:
    body = canonical.encode(value)
    return Envelope(body=body, signature=identity.sign_bytes(signing_input(signature_type, body)))


NOTE = sign(NODE, Note(network=NETWORK, text="hello"))


def test_signature_types_are_distinct() -> None:
    """No signature over one type can stand for another type."""
    assert {model: model.signature_type for model in SIGNED_TYPES} == SIGNED_TYPES
    assert len(set(SIGNED_TYPES.values())) == len(SIGNED_TYPES)


def test_signing_input() -> None:
    """A signature covers protocol, version, type, a zero byte and the body."""
    assert signing_input("note", b"\x80") == b"gpunode/1/note\0\x80"


def test_opening_gives_the_body_back() -> None:
    """What was signed is read back with the same digest."""
    opened = open_signed(Note, NOTE.envelope, NODE.public_key)
    assert opened == NOTE
    assert opened.digest == NOTE.digest


def test_absent_fields_do_not_travel() -> None:
    """A field that is None is left out of the bytes."""
    assert canonical.decode(NOTE.envelope.body) == {"network": NETWORK, "text": "hello", "v": 1}


def test_foreign_key_is_refused() -> None:
    """A signature by another key does not verify."""
    with pytest.raises(BadSignature):
        open_signed(Note, NOTE.envelope, STRANGER.public_key)


@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\0" * 63, b"\xff" * 64])
def test_absent_signature_is_refused(signature: bytes) -> None:
    """An empty or made-up signature does not verify."""
    with pytest.raises(BadSignature):
        open_signed(Note, Envelope(body=NOTE.envelope.body, signature=signature), NODE.public_key)


@pytest.mark.parametrize("value", [{"body": b"\x80"}, {"signature": b""}, {}, {"body": "text", "signature": b""}, None])
def test_incomplete_envelope_is_refused(value: object) -> None:
    """An envelope without signature key is malformed, not unsigned."""
    with pytest.raises(MalformedMessage):
        Envelope.from_map(value)


def test_foreign_type_is_refused() -> None:
    """The same bytes signed as another type do not verify."""
    with pytest.raises(BadSignature):
        open_signed(Note, _envelope(NODE, "voucher", NOTE.body.to_map()), NODE.public_key)


def test_bare_signature_is_refused() -> None:
    """A signature over the body alone, without its type, does not verify."""
    body = NOTE.envelope.body
    with pytest.raises(BadSignature):
        open_signed(Note, Envelope(body=body, signature=NODE.sign_bytes(body)), NODE.public_key)


def test_every_changed_bit_is_noticed() -> None:
    """No bit of body or signature can be changed."""
    for position in range(8 * len(NOTE.envelope.body)):
        body = bytearray(NOTE.envelope.body)
        body[position // 8] ^= 1 << position % 8
        with pytest.raises(BadSignature):
            open_signed(Note, Envelope(body=bytes(body), signature=NOTE.envelope.signature), NODE.public_key)
    for position in range(8 * 64):
        signature = bytearray(NOTE.envelope.signature)
        signature[position // 8] ^= 1 << position % 8
        with pytest.raises(BadSignature):
            open_signed(Note, Envelope(body=NOTE.envelope.body, signature=bytes(signature)), NODE.public_key)


@given(st.binary(max_size=120), st.binary(max_size=80))
def test_random_envelopes_raise_protocol_errors_only(body: bytes, signature: bytes) -> None:
    """Random bytes never open and raise nothing else."""
    with pytest.raises(ProtocolError):
        open_signed(Note, Envelope(body=body, signature=signature), NODE.public_key)


def test_signed_but_not_canonical_is_refused() -> None:
    """A valid signature does not make another encoding acceptable."""
    body = b"\x83\xa1v\x01\xa7network\xd9\x28" + NETWORK.encode() + b"\xa4text\xa1x"  # not in sorted order
    envelope = Envelope(body=body, signature=NODE.sign_bytes(signing_input("note", body)))
    with pytest.raises(NotCanonical):
        open_signed(Note, envelope, NODE.public_key)


def test_a_body_that_names_its_signer_is_checked_with_that_key() -> None:
    """The key is asked for with the body, which has not verified then; what the question raises comes through."""
    assert open_self_named(Note, NOTE.envelope, lambda body: {NOTE.body: NODE.public_key}[body]) == NOTE
    with pytest.raises(BadSignature):
        open_self_named(Note, NOTE.envelope, lambda _: STRANGER.public_key)
    with pytest.raises(KeyError):
        open_self_named(Note, NOTE.envelope, lambda _: {}["nobody"])


@pytest.mark.parametrize("version", [0, 2, True, "1", None])
def test_other_versions_are_refused(version: object) -> None:
    """A body of another version, or with a version that is no integer, is not read."""
    value = {**NOTE.body.to_map(), "v": version}
    with pytest.raises(UnsupportedVersion if version is not True else MalformedMessage):
        open_signed(Note, _envelope(NODE, "note", value), NODE.public_key)


def test_absent_version_is_refused() -> None:
    """The model's default version does not stand in for an absent one."""
    value = {key: item for key, item in NOTE.body.to_map().items() if key != "v"}
    with pytest.raises(UnsupportedVersion):
        open_signed(Note, _envelope(NODE, "note", value), NODE.public_key)


def test_unknown_key_is_ignored_but_signed() -> None:
    """An open body may carry keys of later versions; its digest covers them."""
    opened = open_signed(Note, _envelope(NODE, "note", {**NOTE.body.to_map(), "zeta": 1}), NODE.public_key)
    assert opened.body == NOTE.body
    assert opened.digest != NOTE.digest


@pytest.mark.parametrize("change", [{"text": 1}, {"text": None}, {"extra": "1"}, {"extra": True}, {"network": b"n"}])
def test_fields_are_typed_strictly(change: dict[str, object]) -> None:
    """Nothing is converted: a text is no number, a boolean no integer, bytes no text."""
    with pytest.raises(MalformedMessage):
        open_signed(Note, _envelope(NODE, "note", {**NOTE.body.to_map(), **change}), NODE.public_key)


def test_reading_without_checking_reads_only() -> None:
    """``read_body`` tells who should have signed, whatever the signature."""
    assert read_body(Note, Envelope(body=NOTE.envelope.body, signature=b"")) == NOTE.body


CLOSED = ClosedNote(network=NETWORK, text="x", inner=Note(network=NETWORK, text="y"))


def test_closed_body_is_read() -> None:
    """A closed body without unknown keys is read."""
    signed = sign(CLIENT, CLOSED)
    assert open_signed(ClosedNote, signed.envelope, CLIENT.public_key) == signed


@pytest.mark.parametrize(
    "change",
    [
        {"zeta": 1},
        {"inner": {**CLOSED.to_map()["inner"], "zeta": 1}},
        {"extra": None},
        {"inner": {"network": NETWORK, "text": "y"}},
    ],
    ids=["unknown key", "unknown key inside", "explicit nil", "default left out inside"],
)
def test_closed_body_has_one_encoding(change: dict[str, object]) -> None:
    """A closed body with an unknown key at any depth, an explicit nil or a missing default is refused."""
    with pytest.raises(MalformedMessage):
        open_signed(ClosedNote, _envelope(CLIENT, "closed-note", {**CLOSED.to_map(), **change}), CLIENT.public_key)
