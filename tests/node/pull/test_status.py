"""What `gpunode status`, `earnings` and `link` say of a pull worker."""

import asyncio
import io
from pathlib import Path

import pytest
from gpunode_node.control_client import ask_daemon
from gpunode_node.errors import ControlRefused
from gpunode_node.tables import earnings_table, status_table
from rich.console import Console

from tests.node.pull.fake_queue import PAID, WORKER_ID, running_queue
from tests.node.pull.running_worker import running_worker, worker_settings
from tests.node.world import CLIENT


def _text(table: object) -> str:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


async def test_status_for_people(tmp_path: Path) -> None:
    """The mode, the worker's id, and why queued jobs are not for it."""
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        worker.parts.taker.reasons = {"region": 2, "model": 5}
        text = _text(status_table(await asyncio.to_thread(ask_daemon, worker.control, "status")))
        for words in ("pull: jobs come from the tracker's queue", WORKER_ID, "2 region, 5 model", "0 ready"):
            assert words in text


async def test_earnings(tmp_path: Path) -> None:
    """What the tracker said that it paid, also before this start."""
    async with running_queue() as queue:
        settings = worker_settings(tmp_path / "n", queue)
        async with running_worker(settings) as worker:
            queue.put()
            await queue.until_ended()
            await worker.parts.bench.wait_idle(10)
        async with running_worker(settings) as worker:
            answer = await asyncio.to_thread(ask_daemon, worker.control, "earnings")
            assert (answer["paid_microcredits"], answer["settlements"]) == (PAID, {"completed": 1})
            assert (answer["account"], answer["spendable_microcredits"]) == ("node:x", 1_500_000)
            text = _text(earnings_table(answer))
            assert "0.000077 credits" in text
            assert "1.5 credits" in text
            assert "1 completed" in text


async def test_link(tmp_path: Path) -> None:
    """The key is attached to an account; without an API key it is not."""
    async with running_queue() as queue, running_worker(worker_settings(tmp_path / "n", queue)) as worker:
        answer = await asyncio.to_thread(ask_daemon, worker.control, "link", {"api_key": "good-key"})
        assert answer == {"account": CLIENT.peer_id[:8], "moved_microcredits": 42}
        with pytest.raises(ControlRefused, match="missing"):
            await asyncio.to_thread(ask_daemon, worker.control, "link")
