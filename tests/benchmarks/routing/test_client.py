"""The calls with a client that answers at once; the real one is in ``test_scene``."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from gpunode.routing import Limits
from gpunode.types import Attempt, StartTimes
from gpunode_benchmarks.routing import client
from gpunode_benchmarks.routing.jobs import FIRST_CONTACT, FIRST_JOB, WARM_UP
from gpunode_benchmarks.time_words import word_of
from gpunode_protocol.identity import Identity, PeerId

OTHER, NODE = NODES = [Identity.from_seed(bytes([number]) * 32).peer_id for number in range(2)]


class _Client:
    """Finds one node more at each look, which answers at the next one. Its jobs end as they are asked for."""

    asked: list[dict[str, Any]]
    stop: Path
    failed: list[tuple[Attempt, ...]]

    def __init__(self, **arguments: object) -> None:
        self.arguments = arguments
        self._found: list[PeerId] = []
        self._answering: list[PeerId] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def connect(self) -> None:
        """Join."""

    async def nodes(self, **_: object) -> list[SimpleNamespace]:
        """One of them does not answer yet."""
        self._answering = self._found[:]
        self._found = NODES[: len(self._found) + 1]
        return [SimpleNamespace(node=node, rtt_ms=1.0 if node in self._answering else None) for node in self._found]

    async def chat(self, **arguments: object) -> SimpleNamespace:
        """The answer tells when it was put out."""
        self.asked.append(arguments | {"answering": self._answering})
        await asyncio.sleep(0)
        if arguments["limits"] is not None and len(self.asked) > 6:
            self.stop.touch()
        return SimpleNamespace(
            route=SimpleNamespace(node="node", failed=self.failed.pop(0) if self.failed else ()),
            found_ms=2.0,
            ttft_ms=30.0,
            start=StartTimes(looking_up_ms=1.0),
            response="first-" + word_of(time.monotonic()),
        )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """All jobs that clients have asked for."""
    jobs: list[dict[str, Any]] = []
    monkeypatch.setattr(_Client, "asked", jobs, raising=False)
    monkeypatch.setattr(_Client, "stop", tmp_path / "stop", raising=False)
    monkeypatch.setattr(_Client, "failed", [], raising=False)
    monkeypatch.setattr(client, "AsyncInferenceClient", _Client)
    monkeypatch.setattr(client, "_POLL_S", 0)
    monkeypatch.setattr(client, "unacquainted", lambda arguments, _model, _nodes: _Client(**arguments))
    return jobs


async def test_phases_begin_when_they_are_told_to(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    """A first job, one when all nodes are known, one at first contact, then each phase's; every job has its record."""
    signals = f"{tmp_path}/"
    phases = [[[100.0, 8.0, 0.0], [50.0, 9.0, 0.0]], [[10.0, 10.0, 0.0]]]
    running = asyncio.create_task(client.ask({"state_dir": "c"}, "model", len(NODES), 0, phases, signals))
    for number in range(len(phases)):
        while not (tmp_path / f"ready-{number}").exists():  # noqa: ASYNC110 -- the call makes it, and no bell rings
            await asyncio.sleep(0)
        done = len(asked)
        (tmp_path / f"go-{number}").touch()
        assert done == 3 + sum(map(len, phases[:number]))
    records = (await running)["jobs"]
    assert [record["phase"] for record in records] == [FIRST_JOB, WARM_UP, FIRST_CONTACT, 0, 0, 1]
    assert [(record["prompt_tokens"], record["output_tokens"]) for record in records[3:]] == [
        (100, 8),
        (50, 9),
        (10, 10),
    ]
    assert [len(job["messages"][0]["content"]) for job in asked[3:]] == [400, 200, 40]


async def test_a_crowd_stays_until_it_is_told_to_leave(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    """At one node, with so many jobs at once that one client would not be served all of them."""
    records = await client.crowd({"state_dir": "c"}, "model", NODE, 6, [[100.0, 8.0, 0.0]], f"{tmp_path}/")
    assert (tmp_path / "crowded").exists()
    assert len(records) == len(asked) >= 6
    assert {record["phase"] for record in records} == {WARM_UP}
    assert {job["limits"] for job in asked} == {Limits(allow_nodes=frozenset({NODE}))}
    assert all(NODE in job["answering"] for job in asked)  # other nodes are found before it


async def test_a_job_that_another_node_was_asked_for_is_marked(asked: list[dict[str, Any]], tmp_path: Path) -> None:
    """Its choice is not the one that its node and its times belong to."""
    (tmp_path / "go-0").touch()
    _Client.failed += [(), (), (Attempt(OTHER, "asia", "another node began before it"),)]
    records = (await client.ask({"state_dir": "c"}, "model", len(NODES), 0, [[[100.0, 8.0, 0.0]]], f"{tmp_path}/"))[
        "jobs"
    ]
    assert [record["disturbed"] for record in records] == [False, False, True, False]
    assert len(asked) == len(records)
