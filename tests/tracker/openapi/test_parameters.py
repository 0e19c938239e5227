"""Patterns of path variables fit what stands there."""

import hashlib
import re
import uuid

from gpunode_protocol.identity import Identity, peer_id_of, public_key_of
from gpunode_tracker.openapi.parameters import ALL_REPLIES, BESIDE, REPLY_HEADERS, REQUEST_HEADERS, VARIABLES

from tests.tracker.parties import job_id


def test_patterns_fit_what_the_tracker_hands_out() -> None:
    """Peer ids, the extreme ones too; ids of jobs and workers; digests."""
    peers = [peer_id_of(bytes(32)), peer_id_of(b"\xff" * 32), Identity.generate().peer_id]
    assert all(re.search(VARIABLES["peer"].pattern, peer) for peer in peers)
    assert re.search(VARIABLES["job"].pattern, job_id(1))
    assert re.search(VARIABLES["worker"].pattern, str(uuid.uuid4()))
    assert re.search(VARIABLES["receipt"].pattern, hashlib.sha256().hexdigest())


def test_everything_says_what_it_is() -> None:
    """Each variable and header has a sentence; headers of some statuses are known headers."""
    texts = [variable.about for variable in VARIABLES.values()]
    texts += [entry["about"] for entry in REQUEST_HEADERS.values()]
    texts += [entry["description"] for entry in REPLY_HEADERS.values()]
    assert all(text.endswith(".") for text in texts)
    assert {*ALL_REPLIES, *(name for names in BESIDE.values() for name in names)} <= set(REPLY_HEADERS)


def test_examples_fit_their_patterns() -> None:
    """And the example of a peer id is one."""
    assert all(re.search(variable.pattern, variable.example) for variable in VARIABLES.values())
    assert public_key_of(VARIABLES["peer"].example)
