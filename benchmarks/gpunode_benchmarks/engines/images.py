"""diffusers: pictures/s beside the library alone, of the model's own size and steps, without previews."""

import contextlib
import itertools
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from gpunode_engines.base import Finished
from gpunode_engines.catalogue import resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.media import ImageRequest
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import SupervisedEngine

from gpunode_benchmarks.engines.turns import SIDES, THREADS, Order, sequences, side_measures, started_sides, take_turns
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import Measure

MODEL: Final = "digits-diffusion"
PICTURE: Final[dict[str, Any]] = {
    "prompt": "a handwritten seven",
    "width": 32,
    "height": 32,
    "steps": 20,
    "guidance": 3.0,
}

_BARE: Final = "gpunode_benchmarks.engines.bare.diffusers_child"


async def measure_images(rounds: int, when_quiet: Callable[[], Awaitable[object]]) -> list[Measure]:
    """Have all sides draw the same pictures.

    Args:
        rounds: pairs.
        when_quiet: waited for when all sides have loaded the model.

    Raises:
        BenchmarkFailed: a side did not draw what it was asked for.
        GpunodeError: the model cannot be loaded.
    """
    settings = EngineSettings(engine_threads=THREADS, engine_gpu=False)
    plan = plan_engine(resolve_model(MODEL), settings, detect_machine())
    engine = create_engine(plan, settings)
    load = {"root": plan.root, "threads": THREADS}
    seeds = itertools.count()

    def next_picture() -> Order:
        return {**PICTURE, "seed": next(seeds)}

    async with started_sides(engine, partial(draw, engine), _BARE, load) as sides:
        await when_quiet()
        await take_turns(sides, [SIDES], next_picture)  # warms up
        seconds = await take_turns(sides, sequences(rounds), next_picture)
    return side_measures(seconds, work=1, unit="pictures/s", about="diffusers")


async def draw(engine: SupervisedEngine, order: Order) -> float:
    """Draw one picture; return seconds. Raises BenchmarkFailed: the job ended otherwise."""
    started_at = time.perf_counter()
    reason = None
    async with contextlib.aclosing(engine.generate(ImageRequest(job_key="bench", **order))) as events:
        async for event in events:
            if isinstance(event, Finished):
                reason = event.reason
    if reason != "stop":
        raise BenchmarkFailed(f"The engine ended a job with {reason!r} instead of a picture.")
    return time.perf_counter() - started_at
