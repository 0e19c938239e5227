"""Engines whose child runs ``scripted_backend``, and small ways to ask an engine something."""

import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from gpunode_engines.base import ChatMessage, Engine, Event, GenerateRequest, PreparedPrompt, PrepareRequest, Tokens
from gpunode_engines.ipc import BackendOptions
from gpunode_engines.limits import EngineLimits
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine
from gpunode_protocol.tasks import Task

SCRIPTED_BACKEND = "scripted_backend:ScriptedBackend"

SCRIPTED_PLAN = EnginePlan(
    task=Task.LLM,
    model="scripted",
    backend=SCRIPTED_BACKEND,
    root="/",
    files=(),
    weights_digest=bytes(32),
    quantisation="none",
    memory_bytes=0,
    options=BackendOptions(context_tokens=1000, slots=2, threads=1, use_gpu=False),
)
QUICK_LIMITS = EngineLimits(heartbeat_s=0.05, backoff_s=0.01)
CHILD_PATH = {"PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parent), os.environ.get("PYTHONPATH"))))}


def scripted_engine(limits: EngineLimits = QUICK_LIMITS, **changes: object) -> SupervisedEngine:
    """Return an engine, not started, whose child runs ``scripted_backend``."""
    plan = replace(SCRIPTED_PLAN, **changes)  # type: ignore[arg-type]  # -- tests pass fields of the plan
    return SupervisedEngine(plan, limits, extra_environment=CHILD_PATH)


@asynccontextmanager
async def running_scripted_engine(
    limits: EngineLimits = QUICK_LIMITS, **changes: object
) -> AsyncIterator[SupervisedEngine]:
    """Start and stop such an engine."""
    engine = scripted_engine(limits, **changes)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()


def ask(text: str, **fields: object) -> GenerateRequest:
    """Return a request whose prompt is the bytes of ``text``, for engines whose tokens are bytes."""
    values: dict[str, object] = {"job_key": "job", "prompt_ids": tuple(text.encode()), "max_tokens": 100} | fields
    return GenerateRequest(**values)  # type: ignore[arg-type]  # -- tests pass fields of the request


async def collect(engine: Engine, request: GenerateRequest) -> list[Event]:
    """Run a job to its end and return its events."""
    async with aclosing(engine.generate(request)) as events:
        return [event async for event in events]


async def prepare(engine: Engine, text: str) -> PreparedPrompt:
    """Prepare a conversation of one message."""
    return await engine.prepare(PrepareRequest(messages=(ChatMessage(role="user", content=text),)))


def text_of(events: list[Event]) -> str:
    """Return the text of all tokens."""
    return "".join(event.text for event in events if isinstance(event, Tokens))


def ids_of(events: list[Event]) -> tuple[int, ...]:
    """Return the ids of all tokens."""
    return tuple(token_id for event in events if isinstance(event, Tokens) for token_id in event.ids)
