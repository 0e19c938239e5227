"""``gpunode bench transformers``: the transformers backend on a CPU beside bare ``generate``, and what streams gain.

As in ``engine_bench``, three processes have the same model loaded and take turns: the library alone, our engine's
child, and the library alone again, one stream each. In every round the engine also runs eight streams: ``scale_8`` is
its tokens/s with eight streams / with one of the same round.
"""

import asyncio
import contextlib
import functools
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

from gpunode_engines.base import ChatMessage, PrepareRequest
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

from gpunode_benchmarks.bare_library import BareLoad, bare_library
from gpunode_benchmarks.checkpoint import pull_checkpoint
from gpunode_benchmarks.engine_bench import THREADS, PromptIds, Side, run_engine
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import pair_ratios, spread_summary
from gpunode_benchmarks.workload import MIN_ROUNDS, SIDES, orders, prompt_of

STREAMS = 8
CONTEXT_TOKENS = 256

ROUNDS_PER_START = 6
"""Rounds between fresh starts of all children, as in ``engine_bench``; more, because each start takes seconds."""

_EIGHT = "engine_streams_8"
_WARM_UP_TOKENS = 4
_OUTPUT_TOKENS = 20


def run_transformers_bench(rounds: int = 2 * MIN_ROUNDS) -> BenchResult:
    """Convert the model, load it on every side, measure, end the children.

    Args:
        rounds: pairs; multiples of six favour no side.

    Raises:
        BenchmarkFailed: a side did not generate what it was asked for.
        GpunodeError: the model is not here or cannot be loaded.
    """
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as folder:
        settings = EngineSettings(
            models_dir=Path(folder),
            cache_dir=Path(folder),
            engine_threads=THREADS,
            engine_slots=STREAMS,
            engine_context_tokens=CONTEXT_TOKENS,
            engine_gpu=False,
        )
        plan = plan_engine(pull_checkpoint(settings.models_dir), settings, detect_machine())
        measures = asyncio.run(_measure(plan, settings, rounds))
    return BenchResult(
        bench="transformers",
        about="tokens/s of the transformers backend beside bare generate, on the CPU",
        settings={
            "model": f"{plan.model} as safetensors",
            "dtype": plan.quantisation,
            "threads": THREADS,
            "slots": STREAMS,
            "context_tokens": CONTEXT_TOKENS,
            "rounds_per_start": ROUNDS_PER_START,
            "output_tokens": _OUTPUT_TOKENS,
        },
        measures=measures,
        load_before=load_before,
        load_after=load_average(),
    )


async def _measure(plan: EnginePlan, settings: EngineSettings, rounds: int) -> tuple[Measure, ...]:
    speeds: dict[str, list[float]] = {side: [] for side in (*SIDES, _EIGHT)}
    all_orders = list(orders(rounds))
    numbers = itertools.count()
    for first in range(0, rounds, ROUNDS_PER_START):
        some_orders = all_orders[first : first + ROUNDS_PER_START]
        async with _started(plan, settings, some_orders[0]) as (engine, sides):
            for side in SIDES:
                await sides[side](await _prompts(engine, numbers, 1), _WARM_UP_TOKENS)
            for order in some_orders:
                prompts = await _prompts(engine, numbers, 1)
                for side in order:
                    speeds[side].append(_OUTPUT_TOKENS / await sides[side](prompts, _OUTPUT_TOKENS))
                elapsed_s = await run_engine(engine, await _prompts(engine, numbers, STREAMS), _OUTPUT_TOKENS)
                speeds[_EIGHT].append(STREAMS * _OUTPUT_TOKENS / elapsed_s)
    return _summaries(speeds)


async def _prompts(engine: SupervisedEngine, numbers: Iterator[int], count: int) -> PromptIds:
    """Return the next prompts, none of which was used before."""
    messages = [ChatMessage(role="user", content=prompt_of(number)) for number in itertools.islice(numbers, count)]
    return [(await engine.prepare(PrepareRequest(messages=(message,)))).token_ids for message in messages]


@contextlib.asynccontextmanager
async def _started(
    plan: EnginePlan, settings: EngineSettings, order: Sequence[str]
) -> AsyncIterator[tuple[SupervisedEngine, Mapping[str, Side]]]:
    """Start the children of all sides in the given order, and end them with the context."""
    load = BareLoad(
        library="transformers",
        model_path=plan.root,
        slots=1,
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
        yield engine, sides


def _summaries(speeds: Mapping[str, Sequence[float]]) -> tuple[Measure, ...]:
    bare, engine, again = (speeds[side] for side in SIDES)
    named = (
        ("bare_1", "1 stream: bare generate", "tokens/s", bare),
        ("engine_1", "1 stream: engine", "tokens/s", engine),
        ("ratio_1", "1 stream: engine / bare", "ratio", pair_ratios(engine, bare)),
        ("a_a_1", "1 stream: bare / bare (a_a)", "ratio", pair_ratios(again, bare)),
        ("engine_8", "8 streams: engine", "tokens/s", speeds[_EIGHT]),
        ("scale_8", "engine: 8 streams / 1 stream", "ratio", pair_ratios(speeds[_EIGHT], engine)),
    )
    return tuple(
        Measure(name=name, about=about, unit=unit, count=len(values), values=spread_summary(values))
        for name, about, unit, values in named
    )
