"""Pairs of jobs with a client whose jobs take no time; real ones are in ``test_scene``."""

from collections.abc import AsyncIterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any, cast

import pytest
from gpunode import AsyncInferenceClient
from gpunode.types import QueueEvent
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.routing.detour import Detour, take_detours

TOKENS = QueueEvent("tokens", {"text": "a"})
DONE = QueueEvent("done", {"status": "completed"})


class _Client:
    """asked: how, with which parameters, where."""

    def __init__(self, *events: QueueEvent) -> None:
        self.asked: list[tuple[str, dict[str, Any], str | None]] = []
        self._events = events

    async def chat(self, *, model: str, **params: Any) -> SimpleNamespace:
        """Answer."""
        self.asked.append((model, params, None))
        return SimpleNamespace(ttft_ms=5.0)

    async def submit_job(self, _: str, params: dict[str, Any], *, region: str, model: str) -> SimpleNamespace:
        """Take the job."""
        self.asked.append((model, params, region))
        return SimpleNamespace(job_id="j")

    async def job_events(self, _: str) -> AsyncIterator[QueueEvent]:
        """Tell what happens to it."""
        for event in self._events:
            yield event


def _as_client(client: _Client) -> AsyncInferenceClient:
    return cast(AsyncInferenceClient, client)


async def test_a_pair_is_the_same_job_twice() -> None:
    """Straight first, then through the queue in the client's region; each has both its times."""
    client = _Client(QueueEvent("queued", {}), TOKENS, TOKENS, DONE)
    taken = await take_detours(_as_client(client), "m", "asia", 2)
    assert [set(pair) for pair in taken] == [{field.name for field in fields(Detour)}] * 2
    assert [(model, where) for model, _, where in client.asked] == [("m", None), ("m", "asia")] * 2
    assert all(params == client.asked[0][1] for _, params, _ in client.asked)
    assert all(pair["direct_first_ms"] == 5.0 for pair in taken)
    assert all(0 < pair["queued_first_ms"] <= pair["queued_whole_ms"] for pair in taken)


async def test_a_job_that_is_done_before_its_events_are_read_shows_all_at_once() -> None:
    """The queue is sometimes quicker than the way to it."""
    (pair,) = await take_detours(_as_client(_Client(DONE)), "m", "asia", 1)
    assert pair["queued_first_ms"] == pair["queued_whole_ms"] > 0


@pytest.mark.parametrize(
    ("events", "words"),
    [((TOKENS, QueueEvent("done", {"status": "failed"})), "is failed"), ((TOKENS,), "did not end")],
)
async def test_a_job_that_fails_has_no_figure(events: tuple[QueueEvent, ...], words: str) -> None:
    """And says what happened."""
    with pytest.raises(BenchmarkFailed, match=words):
        await take_detours(_as_client(_Client(*events)), "m", "asia", 1)
