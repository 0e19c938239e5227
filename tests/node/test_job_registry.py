"""Running and finished jobs by the bytes of their request."""

import asyncio
from pathlib import Path

import pytest
from gpunode_node import job_registry
from gpunode_node.job_registry import KEPT_RESULT_S
from gpunode_protocol.errors import ErrorCode, JobError
from gpunode_protocol.signing import Envelope

from tests.engines.fake_engine import FakeEngine
from tests.node.job_client import JobClient, ask, refusal
from tests.node.virtual_time import virtual_time
from tests.node.world import CLIENT, OTHER, llm_params, request, running_node


def _now() -> float:
    return asyncio.get_running_loop().time()


@virtual_time
async def test_exact_bytes_of_the_same_peer(tmp_path: Path) -> None:
    """Another peer, or another signature over the same body, finds nothing."""
    async with running_node(tmp_path) as node:
        asked = request()
        await ask(node, asked)
        other = Envelope(body=asked.envelope.body, signature=bytes(64))
        assert node.registry.find(CLIENT.peer_id, asked.envelope) is not None
        assert node.registry.find(CLIENT.peer_id, other) is None
        assert node.registry.find(OTHER.peer_id, asked.envelope) is None


@virtual_time
async def test_results_are_dropped_after_ten_minutes(tmp_path: Path) -> None:
    """Until then they are kept."""
    async with running_node(tmp_path) as node:
        asked = request()
        await ask(node, asked)
        node.registry.expire(_now() + KEPT_RESULT_S - 1)
        assert node.registry.find(CLIENT.peer_id, asked.envelope) is not None
        node.registry.expire(_now() + KEPT_RESULT_S + 1)
        assert node.registry.find(CLIENT.peer_id, asked.envelope) is None


@virtual_time
async def test_refused_jobs_leave_nothing(tmp_path: Path) -> None:
    """A job that was never accepted is not found again, and is dropped at once."""
    async with running_node(tmp_path, FakeEngine(context_tokens=32)) as node:
        asked = request(params=llm_params(max_tokens=32))
        await refusal(node, asked)
        assert node.registry.find(CLIENT.peer_id, asked.envelope) is None
        node.registry.expire(_now())
        assert node.registry._runs == {}


@virtual_time
async def test_kept_frames_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the oldest results give way."""
    async with running_node(tmp_path) as node:
        asked = [request() for _ in range(3)]
        sizes = []
        for each in asked:
            await ask(node, each)
            await asyncio.sleep(1)
            run = node.registry.find(CLIENT.peer_id, each.envelope)
            assert run is not None
            sizes.append(sum(len(frame) for frame in run.job.frames))
        monkeypatch.setattr(job_registry, "MAX_KEPT_BYTES", sum(sizes[1:]))
        node.registry.expire(_now())
        assert [node.registry.find(CLIENT.peer_id, each.envelope) is None for each in asked] == [True, False, False]


@virtual_time
async def test_closing_cancels_what_runs(tmp_path: Path) -> None:
    """A second signal leaves no job behind, and its slot is free."""
    async with running_node(tmp_path, FakeEngine(answer="x" * 99, tokens_per_s=1)) as node:
        client = JobClient(node.connect(), request())
        await client.run(until=lambda event: hasattr(event, "ids"))
        assert len(node.registry.unfinished) == 1
        assert await node.registry.wait_ended(1) is False
        await node.registry.close()
        assert node.engine.active_jobs == 0
        assert node.model.scheduler.active == 0
        assert await node.registry.wait_ended(1) is True


@virtual_time
async def test_jobs_of_a_peer_and_of_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer may have so many under way, and so may all peers of one address; what is settled makes room."""
    monkeypatch.setattr(job_registry, "MAX_JOBS_PER_PEER", 1)
    monkeypatch.setattr(job_registry, "MAX_JOBS_PER_ADDRESS", 1)
    async with running_node(tmp_path) as node:
        node.intake.open(request().envelope, CLIENT.peer_id, "home")
        with pytest.raises(JobError, match="1 jobs of you") as caught:
            node.intake.open(request().envelope, CLIENT.peer_id, "elsewhere")
        assert (caught.value.code, caught.value.retryable) == (ErrorCode.BUSY, True)
        with pytest.raises(JobError, match="1 jobs of your address"):
            node.registry.check_room(OTHER.peer_id, "home")
        node.registry.check_room(OTHER.peer_id, "elsewhere")
        assert await node.registry.wait_ended(60)
        node.registry.check_room(CLIENT.peer_id, "home")
