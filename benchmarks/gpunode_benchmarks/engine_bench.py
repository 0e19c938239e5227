"""``gpunode bench engine``: what the supervised engine costs beside the bare library, as a ratio of tokens/s.

Three processes have the same model loaded: the library alone, our engine's child, and the library alone again. Every
round gives all three the same prompts, one after the other, in another order each time; every two rounds all three are
started afresh. ``ratio`` is engine / bare of one round, ``a_a`` is bare again / bare: what the ratio would show if
there were no difference at all.
"""

import asyncio
import contextlib
import functools
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gpunode_engines.base import ChatMessage, Finished, GenerateRequest, PrepareRequest
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

from gpunode_benchmarks.bare_library import BareLoad, bare_library
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import pair_ratios, spread_summary
from gpunode_benchmarks.workload import MIN_ROUNDS, SIDES, orders, prompt_of

MODEL = "smollm2-135m"
THREADS = 1
"""More threads measure the other processes of the machine: they wait for each other at every layer."""

ROUNDS_PER_START = 2
"""Rounds between fresh starts of all children. One bare process has been a fifth slower than its twin for as long as
both lived (cause unknown): without fresh starts, that would look like a precise result."""

SLOTS = 4
CONTEXT_TOKENS = 1024

PromptIds = Sequence[tuple[int, ...]]
Side = Callable[[PromptIds, int], Awaitable[float]]
"""Runs prompts at once with exactly so many output tokens each; returns seconds."""


@dataclass(frozen=True, slots=True)
class _Case:
    """streams: prompts at once. output_tokens: of each."""

    streams: int
    output_tokens: int


_WARM_UP_TOKENS = 4
_CASES = (_Case(1, 40), _Case(SLOTS, 20))


def run_engine_bench(rounds: int = MIN_ROUNDS) -> BenchResult:
    """Load the model on every side, measure, end the children.

    Args:
        rounds: pairs per number of streams; multiples of six favour no side.

    Raises:
        BenchmarkFailed: a side did not generate what it was asked for.
        GpunodeError: the model is not here or cannot be loaded.
    """
    load_before = load_average()
    settings = EngineSettings(
        engine_threads=THREADS, engine_slots=SLOTS, engine_context_tokens=CONTEXT_TOKENS, engine_gpu=False
    )
    plan = plan_engine(resolve_model(MODEL), settings, detect_machine())
    measures = asyncio.run(_measure(plan, settings, rounds))
    return BenchResult(
        bench="engine",
        about="tokens/s of the supervised engine beside the bare library, on the CPU",
        settings={
            "model": MODEL,
            "threads": THREADS,
            "slots": SLOTS,
            "context_tokens": CONTEXT_TOKENS,
            "rounds_per_start": ROUNDS_PER_START,
            **{f"output_tokens_streams_{case.streams}": case.output_tokens for case in _CASES},
        },
        measures=measures,
        load_before=load_before,
        load_after=load_average(),
    )


async def _measure(plan: EnginePlan, settings: EngineSettings, rounds: int) -> tuple[Measure, ...]:
    speeds = {case: {side: list[float]() for side in SIDES} for case in _CASES}
    all_orders = list(orders(rounds))
    numbers = itertools.count()
    for first in range(0, rounds, ROUNDS_PER_START):
        some_orders = all_orders[first : first + ROUNDS_PER_START]
        async with _started(plan, settings, some_orders[0]) as started:
            for case in _CASES:
                await _run_rounds(case, started, numbers, some_orders, speeds[case])
    return tuple(measure for case in _CASES for measure in _summaries(case, speeds[case]))


@dataclass(frozen=True, slots=True)
class _Started:
    """Sides with the model loaded; the engine tokenises for all of them."""

    engine: SupervisedEngine
    sides: Mapping[str, Side]

    async def prompts(self, numbers: Iterator[int], count: int) -> PromptIds:
        """Return the next ``count`` prompts, none of which was used before."""
        messages = [ChatMessage(role="user", content=prompt_of(number)) for number in itertools.islice(numbers, count)]
        return [(await self.engine.prepare(PrepareRequest(messages=(message,)))).token_ids for message in messages]


@contextlib.asynccontextmanager
async def _started(plan: EnginePlan, settings: EngineSettings, order: Sequence[str]) -> AsyncIterator[_Started]:
    """Start the children of all sides in the given order, and end them with the context."""
    load = BareLoad(
        library="llamacpp",
        model_path=plan.files[0],
        slots=SLOTS,
        context_tokens=CONTEXT_TOKENS,
        threads=THREADS,
    )
    engine = create_engine(plan, settings)
    sides: dict[str, Side] = {"engine": functools.partial(run_engine, engine)}
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.stop)
        for side in order:
            if side == "engine":
                await engine.start()
            else:
                sides[side] = (await stack.enter_async_context(bare_library(load))).run
        yield _Started(engine, sides)


async def _run_rounds(
    case: _Case,
    started: _Started,
    numbers: Iterator[int],
    some_orders: Sequence[Sequence[str]],
    speeds: Mapping[str, list[float]],
) -> None:
    """Append each side's tokens/s of every round to ``speeds``; a first short run warms up and is not counted."""
    warm_up = await started.prompts(numbers, case.streams)
    for side in SIDES:
        await started.sides[side](warm_up, _WARM_UP_TOKENS)
    for order in some_orders:
        prompts = await started.prompts(numbers, case.streams)
        for side in order:
            elapsed_s = await started.sides[side](prompts, case.output_tokens)
            speeds[side].append(case.streams * case.output_tokens / elapsed_s)


async def run_engine(engine: SupervisedEngine, prompts: PromptIds, output_tokens: int) -> float:
    """Run prompts at once with exactly so many output tokens each; return seconds.

    Raises:
        BenchmarkFailed: a job ended early.
    """
    started_at = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for number, prompt in enumerate(prompts):
            group.create_task(_complete(engine, f"bench-{number}", prompt, output_tokens))
    return time.perf_counter() - started_at


async def _complete(engine: SupervisedEngine, job_key: str, prompt: tuple[int, ...], output_tokens: int) -> None:
    request = GenerateRequest(
        job_key=job_key, prompt_ids=prompt, max_tokens=output_tokens, temperature=0.0, ignore_eos=True
    )
    reason = None
    async with contextlib.aclosing(engine.generate(request)) as events:
        async for event in events:
            if isinstance(event, Finished):
                reason = event.reason
    if reason != "length":
        raise BenchmarkFailed(f"The engine ended a job with {reason!r} instead of all its tokens.")


def _summaries(case: _Case, speeds: Mapping[str, Sequence[float]]) -> list[Measure]:
    """Return what is reported of one number of streams."""
    words = "1 stream" if case.streams == 1 else f"{case.streams} streams"
    bare, engine, again = (speeds[side] for side in SIDES)
    named = (
        ("bare", "bare library", "tokens/s", bare),
        ("engine", "supervised engine", "tokens/s", engine),
        ("ratio", "engine / bare", "ratio", pair_ratios(engine, bare)),
        ("a_a", "bare / bare (a_a)", "ratio", pair_ratios(again, bare)),
    )
    return [
        Measure(
            name=f"{name}_streams_{case.streams}",
            about=f"{words}: {about}",
            unit=unit,
            count=len(values),
            values=spread_summary(values),
        )
        for name, about, unit, values in named
    ]
