"""``gpunode bench engines``: what each supervised engine costs beside the bare library that it wraps, on the CPU.

Every process computes on one thread. On a machine with two cores or more two kinds of engines are measured at a time,
each by itself in turns (see ``turns``), so that all fit into a minute. Pictures come after them: an engine tells each
step of one to its parent, which is to find a core for that.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from gpunode_benchmarks.eight_bit_copy import pull_eight_bit_copy
from gpunode_benchmarks.engines import images, llamacpp, transformers, whisper
from gpunode_benchmarks.engines.turns import THREADS
from gpunode_benchmarks.report import BenchResult, Measure, load_average

ROUNDS: Final = 10
"""Pairs of each ratio in the time of a short run; multiples of six favour no side."""

_Bench = Callable[[int], Awaitable[list[Measure]]]

#: What is measured at the same time, each lane one after the other.
LANES: Final[Sequence[Sequence[_Bench]]] = (
    (llamacpp.measure_llamacpp,),
    (transformers.measure_transformers, whisper.measure_whisper),
)


def run_engines_bench(rounds: int = ROUNDS) -> BenchResult:
    """Measure all kinds of engines and end all children.

    Args:
        rounds: pairs; multiples of six favour no side.

    Raises:
        BenchmarkFailed: a side did not do what it was asked for.
        GpunodeError: a model is not here or cannot be loaded.
    """
    load_before, began_at = load_average(), time.monotonic()
    measures = asyncio.run(_measure(rounds))
    return BenchResult(
        bench="engines",
        about="work per second of the supervised engines beside the bare libraries, on the CPU",
        settings={
            "threads": THREADS,
            "models": f"{llamacpp.MODEL} (GGUF, and converted to safetensors), {whisper.MODEL}, {images.MODEL}",
            "scale_8": "the GGUF file's weights as Q8_0; scale_8_packaged: as Q4_1, computed stream by stream",
            "steps": images.PICTURE["steps"],
            "audio_s": whisper.AUDIO_S,
            "seconds": round(time.monotonic() - began_at),
        },
        measures=tuple(measures),
        load_before=load_before,
        load_after=load_average(),
    )


async def _measure(rounds: int) -> list[Measure]:
    lanes = LANES if (os.cpu_count() or 1) >= len(LANES) else [[bench for lane in LANES for bench in lane]]
    lanes_are_over = asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as name:
        models_dir = Path(name)
        async with asyncio.TaskGroup() as group:
            pictures = group.create_task(images.measure_images(rounds, lanes_are_over.wait))
            running = [group.create_task(_run_lane(lane, rounds)) for lane in lanes]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            copying = group.create_task(pull_eight_bit_copy(models_dir))  # on the core that is free now
            await asyncio.wait([*running, copying])
            lanes_are_over.set()
        measures = [measure for lane in running for measure in lane.result()]
        scale = await llamacpp.measure_llamacpp_scale(models_dir, copying.result())  # needs two cores for itself
    return [*measures, *pictures.result(), *scale]


async def _run_lane(benches: Sequence[_Bench], rounds: int) -> list[Measure]:
    return [measure for bench in benches for measure in await bench(rounds)]
