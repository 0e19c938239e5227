"""What clients of the routing bench do, on the lab's hosts: calls with arguments and results of JSON."""

import asyncio
import itertools
import time
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from gpunode import AsyncInferenceClient
from gpunode.routing import Limits
from gpunode.types import ChatResult

from gpunode_benchmarks.paced_backend import TOKEN_BYTES
from gpunode_benchmarks.routing.contact import unacquainted
from gpunode_benchmarks.routing.detour import take_detours
from gpunode_benchmarks.routing.jobs import FIRST_CONTACT, FIRST_JOB, WARM_UP, WantedJob
from gpunode_benchmarks.time_words import WORD_BYTES, age_s

_SHORT: Final = WantedJob(prompt_tokens=100, output_tokens=8, pause_ms=0.0)
_POLL_S: Final = 0.05
_FIND_TIMEOUT_S: Final = 60.0
_STREAMS_PER_CLIENT: Final = 5
"""A node serves one peer no more than eight at once."""


async def ask(
    client: dict[str, Any], model: str, nodes: int, detours: int, phases: list[list[list[float]]], signals: str
) -> dict[str, Any]:
    """Do a first job, find all nodes, do one more, one at first contact, the pairs of ``detour``, then each phase's.

    Args:
        client: arguments of ``AsyncInferenceClient``.
        model: what to ask for.
        nodes: how many there are.
        detours: pairs of jobs, straight and through the tracker.
        phases: the jobs of each, as the fields of ``WantedJob``.
        signals: prefix of files. The call makes ``…ready-N`` before phase N, which begins when there is ``…go-N``.

    Returns:
        ``jobs``, a record of each, and ``detours``, the fields of each ``Detour``.
    """
    records: list[dict[str, Any]] = []
    async with AsyncInferenceClient(**client) as asking:
        records.append(await _ask_one(asking, model, _SHORT, phase=FIRST_JOB))
        await _until_answering(asking, model, lambda answering: len(answering) >= nodes)
        records.append(await _ask_one(asking, model, _SHORT, phase=WARM_UP))
        newcomer = client | {"state_dir": f"{client['state_dir']}f"}
        async with unacquainted(newcomer, model, nodes) as asking_there:
            records.append(await _ask_one(asking_there, model, _SHORT, phase=FIRST_CONTACT))
        taken = await take_detours(asking, model, client["region"], detours) if detours else []
        for number, jobs in enumerate(phases):
            Path(f"{signals}ready-{number}").touch()
            await _until_there(f"{signals}go-{number}")
            for fields in jobs:
                job = WantedJob(int(fields[0]), int(fields[1]), fields[2])
                await asyncio.sleep(job.pause_ms / 1000)
                records.append(await _ask_one(asking, model, job, phase=number))
    return {"jobs": records, "detours": taken}


async def crowd(
    client: dict[str, Any], model: str, node: str, at_once: int, jobs: list[list[float]], signals: str
) -> list[dict[str, Any]]:
    """Keep so many jobs at one node until there is the file ``…stop``; make ``…crowded`` when the first one is done.

    The jobs are asked for again and again, in their order.
    """
    records: list[dict[str, Any]] = []
    wanted = itertools.cycle(jobs)
    only_there = Limits(allow_nodes=frozenset({node}))

    async def keep_asking(asking: AsyncInferenceClient) -> None:
        while not Path(f"{signals}stop").exists():
            fields = next(wanted)
            job = WantedJob(int(fields[0]), int(fields[1]), 0.0)
            records.append(await _ask_one(asking, model, job, phase=WARM_UP, limits=only_there))
            Path(f"{signals}crowded").touch()

    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                AsyncInferenceClient(**(client | {"state_dir": f"{client['state_dir']}{number}"}))
            )
            for number in range(-(-at_once // _STREAMS_PER_CLIENT))
        ]
        for asking in clients:
            await asking.connect()
            await _until_answering(asking, model, lambda answering: node in answering)
        async with asyncio.TaskGroup() as group:
            for number in range(at_once):
                group.create_task(keep_asking(clients[number % len(clients)]))
    return records


async def _until_answering(
    client: AsyncInferenceClient, model: str, are_enough: Callable[[Collection[str]], bool]
) -> None:
    """Look for nodes until those that answer probes are enough."""
    async with asyncio.timeout(_FIND_TIMEOUT_S):
        while not are_enough({node.node for node in await client.nodes(model=model) if node.rtt_ms is not None}):  # noqa: ASYNC110 -- no bell
            await asyncio.sleep(_POLL_S)


async def _until_there(path: str) -> None:
    while not Path(path).exists():  # noqa: ASYNC110 -- another process makes it
        await asyncio.sleep(_POLL_S)


async def _ask_one(
    client: AsyncInferenceClient, model: str, job: WantedJob, *, phase: int, limits: Limits | None = None
) -> dict[str, Any]:
    asked_at = time.monotonic()
    result: ChatResult = await client.chat(
        messages=[{"role": "user", "content": "x" * (TOKEN_BYTES * job.prompt_tokens)}],
        model=model,
        max_tokens=job.output_tokens,
        limits=limits,
    )
    now = time.monotonic()
    return {
        "phase": phase,
        "node": result.route.node,
        "chosen_at": asked_at + result.found_ms / 1000,
        "found_ms": result.found_ms,
        "ttft_ms": result.ttft_ms,
        "start": asdict(result.start),
        "prompt_tokens": job.prompt_tokens,
        "output_tokens": job.output_tokens,
        "disturbed": bool(result.route.failed),
        "ended_at": now - age_s(result.response[-WORD_BYTES:], now),
    }
