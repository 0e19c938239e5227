"""A node answers only requests that are signed by the asking peer, for it, and now."""

import time

import pytest
from gpunode_protocol.identity import Identity
from gpunode_protocol.messages import RequestFrame, encode_frame
from gpunode_protocol.safe_msgpack import pack
from gpunode_protocol.signing import Envelope, sign

from tests.acceptance.framing import framed
from tests.acceptance.network import Network
from tests.acceptance.raw_peer import RawPeer

pytestmark = [pytest.mark.acceptance, pytest.mark.usefixtures("asia_goes_on_serving")]

NODE = "asia"


@pytest.fixture(scope="module")
def grant(raw_peer: RawPeer) -> str:
    """Return a grant for all requests here."""
    return raw_peer.grant().grant


def test_a_changed_request_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """One changed byte voids the signature."""
    node = network.nodes[NODE]
    envelope = raw.request(node, grant).envelope
    changed = Envelope(body=envelope.body.replace(b"France", b"Greece"), signature=envelope.signature)
    answer = raw.send(node, encode_frame(RequestFrame(request=changed))).error()
    assert answer.code == "bad_signature"


def test_an_empty_signature_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """Nothing is taken on trust."""
    node = network.nodes[NODE]
    unsigned = Envelope(body=raw.request(node, grant).envelope.body, signature=b"")
    assert raw.send(node, encode_frame(RequestFrame(request=unsigned))).error().code == "bad_signature"


def test_a_missing_signature_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """An envelope without the field is not a request."""
    node = network.nodes[NODE]
    body = raw.request(node, grant).envelope.body
    frame = framed(pack({"type": "request", "request": {"body": body}}))
    assert raw.send(node, frame).error().code == "malformed"


def test_a_foreign_signature_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """Somebody else's key does not sign for this peer."""
    node = network.nodes[NODE]
    foreign = sign(Identity.generate(), raw.body(node, grant))
    assert raw.ask(node, foreign).error().code == "bad_signature"


def test_a_request_of_another_peer_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """A rightly signed request counts only on its signer's own connection."""
    node, other = network.nodes[NODE], Identity.generate()
    stolen = sign(other, raw.body(node, grant, client=other.peer_id))
    assert raw.ask(node, stolen).error().code == "bad_signature"


def test_a_request_for_another_node_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """A node cannot be used as another one's stand-in."""
    request = raw.request(network.nodes["europe"], grant)
    assert raw.ask(network.nodes[NODE], request).error().code == "wrong_node"


def test_a_request_for_another_network_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """Networks do not mix."""
    node = network.nodes[NODE]
    assert raw.ask(node, raw.request(node, grant, network="0" * 40)).error().code == "wrong_network"


@pytest.mark.parametrize("offset_s", [-90, 90], ids=["stale", "future"])
def test_a_request_of_another_time_is_refused(network: Network, raw: RawPeer, grant: str, offset_s: int) -> None:
    """``issued_at`` may be 60 s off, not more; the message says what to do."""
    node = network.nodes[NODE]
    answer = raw.ask(node, raw.request(node, grant, issued_at=int(time.time()) + offset_s)).error()
    assert answer.code == "stale_request"
    assert "Set the clock" in answer.message


def test_a_request_beyond_its_deadline_is_refused(network: Network, raw: RawPeer, grant: str) -> None:
    """A request whose own time is over is not worked on."""
    node = network.nodes[NODE]
    answer = raw.ask(node, raw.request(node, grant, deadline_at=int(time.time()) - 5)).error()
    assert answer.code == "deadline_passed"
