"""One question through the queue, as the user sees it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from gpunode.demo.children import DemoFailed
from gpunode.demo.demo_task import DemoWish
from gpunode.demo.queue_demo import Told, ask_queue
from gpunode.demo.queue_network import Proved

from tests.sdk.demo.queue_server import JOB, RECEIPT, QueueServer, ended


async def _ask(told: QueueServer, *, as_json: bool) -> None:
    """Ask from another thread, as the command does, whose loop is its own."""
    async with told.server() as server:
        network: Any = SimpleNamespace(
            url=str(server.make_url("")).rstrip("/"),
            api_key="k",
            worker_id="w",
            prove=lambda receipt, job: Proved((receipt, job) == (RECEIPT, JOB), in_ledger=True),
            client_balance_microcredits=lambda: 999_999_900,
            worker_balance_microcredits=lambda: 100,
        )
        wish = DemoWish(prompt="Where?", model="smollm2-135m", as_json=as_json)
        await asyncio.to_thread(ask_queue, network, wish)


async def test_json_is_exactly_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    """With the keys that the documentation names."""
    told = QueueServer()
    await _ask(told, as_json=True)
    said = json.loads(capsys.readouterr().out)
    waited_ms = said.pop("waited_ms")
    assert waited_ms > 0
    assert said == {
        "answer": "Paris.",
        "model": "smollm2-135m",
        "job_id": JOB,
        "worker": "w",
        "tokens": 3,
        "receipt": {"id": RECEIPT, "verified": True, "in_ledger": True},
        "balances": {"client": 999.9999, "worker": 0.0001},
    }
    assert told.asked[0]["params"]["messages"] == [{"role": "user", "content": "Where?"}]


async def test_for_people_all_of_its_way_is_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Position, start, tokens as they come, result and receipt; nothing of it can rewrite the screen."""
    monkeypatch.setenv("COLUMNS", "80")
    await _ask(QueueServer(), as_json=False)
    out = capsys.readouterr().out
    for words in ("> Where?", "position 1, starts in about 2 s", "attempt 1 runs at worker:w", "Paris.", RECEIPT):
        assert words in out
    assert "verified, in the ledger" in out
    assert "client 999.999900 credits, worker 0.000100 credits" in out
    assert "\x1b" not in out


async def test_a_job_that_fails() -> None:
    """The reason is the error."""
    failed = ended(status="failed", result=None, receipt=None, error="The engine broke.")
    with pytest.raises(DemoFailed, match=r"failed: The engine broke\."):
        await _ask(QueueServer(view=failed), as_json=True)


def test_waiting_ends_with_the_first_start() -> None:
    """A job that was begun anew has waited once."""
    told = Told(as_json=True, submitted_at=10.0)
    told.take("queued", {"position": 0}, 10.1)
    assert told.waited_ms is None
    for now in (12.0, 15.0):
        told.take("running", {"attempt": 1}, now)
    assert told.waited_ms == 2_000
