"""The parts of a running pull worker fit together."""

from pathlib import Path

from tests.node.pull.fake_queue import running_queue
from tests.node.pull.running_worker import running_worker, worker_settings
from tests.node.world import NODE


async def test_every_part_is_the_one_that_the_others_use(tmp_path: Path) -> None:
    """One key, one list of models, one outbox, one registry of jobs."""
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        parts = worker.parts
        assert parts.identity.peer_id == NODE.peer_id
        assert parts.intake.models is parts.models
        assert parts.bench.offer == parts.vitals.offer()
        queue.put()
        await queue.until_ended()
        await parts.bench.wait_idle(10)
        assert set(await parts.outbox.totals()) == {"completed"}
        assert parts.registry.unfinished == []
