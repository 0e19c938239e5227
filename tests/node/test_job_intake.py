"""The order of checks at the door: see ``test_job_session`` for each refusal on the wire."""

from pathlib import Path

import pytest
from gpunode_protocol.errors import ErrorCode, JobError

from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, request, running_node


@virtual_time
async def test_one_job_for_the_same_bytes(tmp_path: Path) -> None:
    """The second opening finds the first one's job."""
    async with running_node(tmp_path) as node:
        envelope = request().envelope
        assert node.intake.open(envelope, CLIENT.peer_id) is node.intake.open(envelope, CLIENT.peer_id)


@virtual_time
async def test_a_draining_node_still_gives_results(tmp_path: Path) -> None:
    """Known jobs are found, new ones refused."""
    async with running_node(tmp_path) as node:
        envelope = request().envelope
        run = node.intake.open(envelope, CLIENT.peer_id)
        node.intake.draining = True
        assert node.intake.open(envelope, CLIENT.peer_id) is run
        with pytest.raises(JobError) as caught:
            node.intake.open(request().envelope, CLIENT.peer_id)
        assert caught.value.code is ErrorCode.DRAINING


@virtual_time
async def test_what_is_served_is_named(tmp_path: Path) -> None:
    """A client that asks for another model learns what there is."""
    async with running_node(tmp_path) as node:
        with pytest.raises(JobError, match=r"it serves fake \(llm\)"):
            node.intake.open(request(model="other").envelope, CLIENT.peer_id)
        node.intake.models.clear()
        with pytest.raises(JobError, match="nothing at the moment"):
            node.intake.open(request().envelope, CLIENT.peer_id)


@virtual_time
async def test_a_paused_node_sends_clients_elsewhere(tmp_path: Path) -> None:
    """As one that stops, and in other words; afterwards it takes jobs again."""
    async with running_node(tmp_path) as node:
        node.intake.paused = True
        assert node.intake.closed
        with pytest.raises(JobError, match="owner") as caught:
            node.intake.open(request().envelope, CLIENT.peer_id)
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.DRAINING, True)
        node.intake.paused = False
        assert not node.intake.open(request().envelope, CLIENT.peer_id).job.is_over
