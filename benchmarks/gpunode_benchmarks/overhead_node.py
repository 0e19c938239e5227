"""A whole node in a process of its own whose engines can also be called directly: ``python -m … ORDER``.

The node is the one of ``gpunode start``, on the same event loop. ORDER is JSON: ``{"settings": {…}, "socket": path}``,
and ``"pace": {…}``, the fields of ``Pace``, for paced models whose names do not tell it.
On the socket, each line ``{"model": …, "prompts": [texts], "output_tokens": n}`` runs the prompts at once, straight on
the engine that the node serves, and is answered with ``{"elapsed_s": …, "ttft_s": [one a prompt]}``.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import sys
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import uvloop
from gpunode_engines.base import ChatMessage, Engine, Finished, GenerateRequest, PrepareRequest, Tokens
from gpunode_engines.devices import detect_machine
from gpunode_node.config import NodeSettings
from gpunode_node.daemon import NodeDaemon
from gpunode_node.startup import World

from gpunode_benchmarks.overhead_engines import SYSTEM, OverheadEngines, Pace, resolve_with_paced


class DirectLine:
    """Serves the socket."""

    def __init__(self, engines: OverheadEngines) -> None:
        self._engines = engines
        self._numbers = itertools.count()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection until it is closed."""
        with contextlib.closing(writer):
            while line := await reader.readline():
                order = json.loads(line)
                answer = await run_jobs(
                    self._engines.made[order["model"]], order["prompts"], order["output_tokens"], self._numbers
                )
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()


async def run_jobs(engine: Engine, prompts: list[str], output_tokens: int, numbers: Iterator[int]) -> dict[str, Any]:
    """Run prompts at once; return seconds from the first call to the last job's end, and each one's to its first token.

    Args:
        engine: started.
        prompts: user messages.
        output_tokens: of each job.
        numbers: give every job a key of its own.
    """
    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(_run_job(engine, prompt, output_tokens, next(numbers))) for prompt in prompts]
    return {"elapsed_s": time.perf_counter() - started_at, "ttft_s": [job.result() for job in jobs]}


async def _run_job(engine: Engine, prompt: str, output_tokens: int, number: int) -> float:
    started_at = time.perf_counter()
    messages = (ChatMessage(role="system", content=SYSTEM), ChatMessage(role="user", content=prompt))
    prepared = await engine.prepare(PrepareRequest(messages=messages))
    order = GenerateRequest(
        job_key=f"direct-{number}", prompt_ids=prepared.token_ids, max_tokens=output_tokens, temperature=0.0
    )
    ttft_s: float | None = None
    reason = ""
    async with contextlib.aclosing(engine.generate(order)) as events:
        async for event in events:
            if isinstance(event, Tokens) and event.ids and ttft_s is None:
                ttft_s = time.perf_counter() - started_at
            elif isinstance(event, Finished):
                reason = event.reason
    if ttft_s is None or reason != "length":
        raise RuntimeError(f"A direct job ended with {reason!r} instead of all its tokens.")
    return ttft_s


async def serve(settings: NodeSettings, socket_path: str, pace: Pace | None = None) -> int:
    """Run the node until a signal, and the socket beside it; return the exit code."""
    engines = OverheadEngines(settings, detect_machine(), pace)
    resolve = partial(resolve_with_paced, slots=pace.slots) if pace else resolve_with_paced
    line = await asyncio.start_unix_server(DirectLine(engines).serve, socket_path)
    async with line:
        world = World(resolve_model=resolve, create_engine=engines)
        return await NodeDaemon(settings, world).run()


def main(order: dict[str, Any]) -> int:
    """Run on the node's event loop."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = NodeSettings.load(order["settings"])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings, order["socket"], Pace(**order["pace"]) if "pace" in order else None))


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
