"""``gpunode bench image``: what the supervised image engine costs beside the bare library, as a ratio of pictures/s.

Three processes have the same model loaded: the library alone, our engine's child, and the library alone again. Every
round has all three draw the same picture, one after the other, in another order each time. ``ratio`` is engine / bare
of one round, ``a_a`` is bare again / bare: what the ratio would show if there were no difference at all.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from gpunode_engines.base import Finished
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.media import ImageRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from gpunode_benchmarks.bare_child import bare_child
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import pair_ratios, spread_summary
from gpunode_benchmarks.workload import SIDES, orders

MODEL: Final = "digits-diffusion"
THREADS: Final = 1
"""More threads measure the other processes of the machine: they wait for each other at every layer."""
ROUNDS: Final = 12
"""Pairs for each ratio: every order of the three sides twice."""
PICTURE: Final[Mapping[str, Any]] = {
    "prompt": "a handwritten seven",
    "width": 32,
    "height": 32,
    "steps": 20,
    "guidance": 3.0,
}

_BARE_CHILD: Final = "gpunode_benchmarks.bare_diffusers_child"

Side = Callable[[Mapping[str, Any]], Awaitable[float]]
"""Draws one picture; returns seconds."""


def run_image_bench(rounds: int = ROUNDS) -> BenchResult:
    """Load the model on every side, measure, end the children.

    Args:
        rounds: pairs; multiples of six favour no side.

    Raises:
        BenchmarkFailed: a side did not draw what it was asked for.
        GpunodeError: the model cannot be loaded.
    """
    load_before = load_average()
    measures = asyncio.run(measure_images(rounds))
    return BenchResult(
        bench="image_gen",
        about="pictures/s of the supervised engine beside the bare library, on the CPU",
        settings={"model": MODEL, "threads": THREADS, "steps": PICTURE["steps"], "side": PICTURE["width"]},
        measures=measures,
        load_before=load_before,
        load_after=load_average(),
    )


async def measure_images(rounds: int) -> tuple[Measure, ...]:
    """Return pictures/s of each side, their ratio, and bare / bare. Raises as ``run_image_bench``."""
    speeds = {side: list[float]() for side in SIDES}
    async with _started() as sides:
        for side in SIDES:
            await sides[side]({**PICTURE, "seed": 0})  # warms up
        for number, order in enumerate(orders(rounds), 1):
            for side in order:
                speeds[side].append(1 / await sides[side]({**PICTURE, "seed": number}))
    return _summaries(speeds)


@contextlib.asynccontextmanager
async def _started() -> AsyncIterator[Mapping[str, Side]]:
    """Start the children of all sides, one after the other, and end them with the context."""
    settings = EngineSettings(engine_threads=THREADS, engine_gpu=False)
    plan = plan_engine(resolve_model(MODEL), settings, detect_machine())
    engine = create_engine(plan, settings)
    async with contextlib.AsyncExitStack() as stack:
        load = {"root": plan.root, "threads": THREADS}
        bare, again = [await stack.enter_async_context(bare_child(_BARE_CHILD, load)) for _ in range(2)]
        stack.push_async_callback(engine.stop)
        await engine.start()
        yield {"bare": bare.run, "engine": partial(_draw, engine), "bare_again": again.run}


async def _draw(engine: SupervisedEngine, order: Mapping[str, Any]) -> float:
    started_at = time.perf_counter()
    reason = None
    async with contextlib.aclosing(engine.generate(ImageRequest(job_key="bench", **order))) as events:
        async for event in events:
            if isinstance(event, Finished):
                reason = event.reason
    if reason != "stop":
        raise BenchmarkFailed(f"The engine ended a job with {reason!r} instead of a picture.")
    return time.perf_counter() - started_at


def _summaries(speeds: Mapping[str, Sequence[float]]) -> tuple[Measure, ...]:
    bare, engine, again = (speeds[side] for side in SIDES)
    named = (
        ("bare", "bare library", "pictures/s", bare),
        ("engine", "supervised engine", "pictures/s", engine),
        ("ratio", "engine / bare", "ratio", pair_ratios(engine, bare)),
        ("a_a", "bare again / bare", "ratio", pair_ratios(again, bare)),
    )
    return tuple(
        Measure(name=name, about=about, unit=unit, count=len(values), values=spread_summary(values))
        for name, about, unit, values in named
    )
