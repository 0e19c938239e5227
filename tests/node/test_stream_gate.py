"""Streams of a peer."""

import contextlib

import pytest
from gpunode_node.stream_gate import StreamGate
from gpunode_protocol.errors import ErrorCode, JobError

from tests.node.world import CLIENT, OTHER


def test_a_peer_beyond_its_limit() -> None:
    """The limit is each peer's own, and a closed stream makes room."""
    gate = StreamGate(2)
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(gate.entered(CLIENT.peer_id))
        with pytest.raises(JobError) as caught, gate.entered(CLIENT.peer_id):
            pass
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.TOO_MANY_STREAMS, True)
        with gate.entered(OTHER.peer_id):
            pass
    with gate.entered(CLIENT.peer_id):
        pass
