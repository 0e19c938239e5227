"""Bytes that break the protocol are answered with an error of the right code, and harm nobody else."""

from typing import Any

import msgpack
import pytest
from gpunode_protocol.framing import MAX_FRAME_BYTES
from gpunode_protocol.messages import (
    AcceptedFrame,
    BlobFrame,
    CancelFrame,
    DoneFrame,
    PingFrame,
    RequestFrame,
    VoucherFrame,
    encode_frame,
)
from gpunode_protocol.node_stream import MAX_STREAMS_PER_PEER
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope, signing_input

from tests.acceptance.framing import framed, sorted_body
from tests.acceptance.network import Network, is_idle
from tests.acceptance.processes import wait_until
from tests.acceptance.raw_peer import RawPeer

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("asia_goes_on_serving")]

NODE = "asia"
EMPTY = Envelope(body=b"", signature=b"")
TYPE_TWICE = b"\x82" + 2 * (pack("type") + pack("cancel"))


@pytest.fixture(scope="module")
def grant(raw_peer: RawPeer) -> str:
    """Return a grant for all requests here."""
    return raw_peer.grant().grant


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\xff\xff\xff\xff", "frame_too_long", id="header of 4 GiB"),
        pytest.param(framed(b"", length=MAX_FRAME_BYTES + 1), "frame_too_long", id="one byte too long"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", "frame_too_long", id="http"),
        pytest.param(framed(b""), "malformed", id="empty"),
        pytest.param(framed(b"\xc1"), "malformed", id="not msgpack"),
        pytest.param(framed(encode_frame(CancelFrame())[4:-3]), "malformed", id="cut off"),
        pytest.param(framed(pack({"type": "cancel"}) + b"\x00"), "malformed", id="more behind it"),
        pytest.param(framed(b"\x91" * 17 + b"\xc0"), "malformed", id="17 levels deep"),
        pytest.param(framed(b"\x91" * 500_000 + b"\xc0"), "malformed", id="500,000 levels deep"),
        pytest.param(framed(b"\xdd\xff\xff\xff\xff"), "malformed", id="array of 4 billion"),
        pytest.param(framed(b"\xdf\xff\xff\xff\xff"), "malformed", id="map of 4 billion"),
        pytest.param(framed(TYPE_TWICE), "malformed", id="key twice"),
        pytest.param(framed(msgpack.packb(msgpack.ExtType(5, b"x" * 9))), "malformed", id="extension type"),
        pytest.param(framed(pack([1, 2, 3])), "malformed", id="no map"),
        pytest.param(framed(pack({"kind": "request"})), "malformed", id="no type"),
        pytest.param(framed(pack({"type": "request", "request": "x"})), "malformed", id="field of another type"),
        pytest.param(framed(pack({"type": "upgrade"})), "unknown_type", id="unknown type"),
        pytest.param(encode_frame(PingFrame()), "unknown_type", id="the node's own type"),
        pytest.param(encode_frame(VoucherFrame(voucher=EMPTY)), "unexpected_message", id="voucher first"),
        pytest.param(encode_frame(CancelFrame()), "unexpected_message", id="cancel first"),
    ],
)
def test_a_bad_first_frame(network: Network, raw: RawPeer, sent: bytes, code: str) -> None:
    """The node says what is wrong."""
    assert raw.send(network.nodes[NODE], sent).error().code == code


def test_the_stream_ends_with_the_error(network: Network, raw: RawPeer) -> None:
    """The node closes it, also when the client does not."""
    stream = raw.send(network.nodes[NODE], b"\xff\xff\xff\xff")
    assert stream.error().code == "frame_too_long"
    assert stream.next() is None


def test_a_frame_that_never_ends(network: Network, raw: RawPeer, grant: str) -> None:
    """A client that leaves in the middle of a frame leaves nothing behind."""
    node = network.nodes[NODE]
    whole = encode_frame(RequestFrame(request=raw.request(node, grant).envelope))
    raw.send(node, whole[:100]).close()
    assert raw.complete(node).usage.output_tokens > 0
    wait_until(lambda: is_idle(node), "the node holds nothing of either")


def test_a_frame_byte_by_byte(network: Network, raw: RawPeer, grant: str) -> None:
    """Where a frame is cut on its way makes no difference."""
    node = network.nodes[NODE]
    whole = encode_frame(RequestFrame(request=raw.request(node, grant).envelope))
    stream = raw.send(node, *(whole[at : at + 97] for at in range(0, len(whole), 97)))
    assert isinstance(stream.next(), AcceptedFrame)


def test_a_second_request_on_one_stream(network: Network, raw: RawPeer, grant: str) -> None:
    """One stream carries one job."""
    node = network.nodes[NODE]
    twice = [encode_frame(RequestFrame(request=raw.request(node, grant).envelope)) for _ in range(2)]
    assert raw.send(node, *twice).error().code == "unexpected_message"


def test_a_blob_for_a_chat(network: Network, raw: RawPeer, grant: str) -> None:
    """A job without inputs takes none."""
    node = network.nodes[NODE]
    request = raw.request(node, grant, params={"max_tokens": 64})
    blob = BlobFrame(id=0, media_type="image/png", total_bytes=1, offset=0, digest=bytes(32), data=b"x")
    stream = raw.send(node, encode_frame(RequestFrame(request=request.envelope)), encode_frame(blob))
    assert stream.error().code == "unexpected_message"


def _signed_bytes(raw: RawPeer, body: bytes) -> bytes:
    signature = raw.identity.sign_bytes(signing_input("request", body))
    return encode_frame(RequestFrame(request=Envelope(body=body, signature=signature)))


def _body(raw: RawPeer, network: Network, grant: str, **changes: Any) -> dict[str, Any]:
    return raw.body(network.nodes[NODE], grant).to_map() | changes


def test_unsorted_keys_in_a_signed_body(network: Network, raw: RawPeer, grant: str) -> None:
    """What is signed has one encoding only."""
    fields = sorted(_body(raw, network, grant).items(), reverse=True)
    body = pack(dict(fields))
    assert raw.send(network.nodes[NODE], _signed_bytes(raw, body)).error().code == "not_canonical"


def test_a_key_twice_in_a_signed_body(network: Network, raw: RawPeer, grant: str) -> None:
    """Two readers must not see two requests in one body."""
    honest = sorted_body(_body(raw, network, grant))
    assert 0x80 <= honest[0] < 0x8F  # a map of up to 15 entries has their number in its first byte
    body = bytes([honest[0] + 1]) + honest[1:] + pack("v") + pack(1)
    assert raw.send(network.nodes[NODE], _signed_bytes(raw, body)).error().code == "not_canonical"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        pytest.param({"deadline_at": 1e10}, "not_canonical", id="float"),
        pytest.param({"v": 2}, "unsupported_version", id="version 2"),
        pytest.param({"v": "1"}, "unsupported_version", id="version as text"),
        pytest.param({"job": "not-a-uuid"}, "malformed", id="job id"),
        pytest.param({"segment": -1}, "malformed", id="negative segment"),
        pytest.param({"salt": b"short"}, "malformed", id="short salt"),
        pytest.param({"client": "nobody"}, "malformed", id="client id"),
        pytest.param({"extra": [[[[[[[[1]]]]]]]]}, "not_canonical", id="9 levels deep"),
    ],
)
def test_a_signed_body_that_cannot_be_read(
    network: Network, raw: RawPeer, grant: str, changes: dict[str, Any], code: str
) -> None:
    """A valid signature does not excuse the contents."""
    body = sorted_body(_body(raw, network, grant, **changes))
    assert raw.send(network.nodes[NODE], _signed_bytes(raw, body)).error().code == code


def test_an_unknown_key_in_a_request_is_ignored(network: Network, raw: RawPeer, grant: str) -> None:
    """Newer clients may say more than this node understands."""
    body = sorted_body(_body(raw, network, grant, colour="blue"))
    assert isinstance(raw.send(network.nodes[NODE], _signed_bytes(raw, body)).next(), AcceptedFrame)


def test_too_many_streams_of_one_peer(network: Network, raw: RawPeer, grant: str) -> None:
    """A peer may have eight streams open at a node; the ninth is told so."""
    node = network.nodes[NODE]
    for _ in range(MAX_STREAMS_PER_PEER):
        frames = raw.ask(node, raw.request(node, grant)).to_the_end()
        assert isinstance(frames[-1], DoneFrame)  # the node waits for its final voucher
    assert raw.ask(node, raw.request(node, grant)).error().code == "too_many_streams"
