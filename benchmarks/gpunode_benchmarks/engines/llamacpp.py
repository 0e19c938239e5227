"""llama.cpp: tokens/s beside xllamacpp alone, with one stream and with eight, and what eight gain on two threads."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from gpunode_engines.catalogue import CatalogueEntry, resolve_model
from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import create_engine, plan_engine
from gpunode_engines.supervisor import EnginePlan, SupervisedEngine

from gpunode_benchmarks.engines.text import WARM_UP_TOKENS, TextOrders, run_text
from gpunode_benchmarks.engines.turns import (
    SIDES,
    THREADS,
    measure,
    sequences,
    side_measures,
    started_sides,
    take_turns,
)
from gpunode_benchmarks.report import Measure
from gpunode_benchmarks.stats import pair_ratios

MODEL: Final = "smollm2-135m"
STREAMS: Final = 8
CONTEXT_TOKENS: Final = 256
SCALE_THREADS: Final = 2
SCALE_ROUNDS: Final = 3
PACKAGED_SCALE_ROUNDS: Final = 2
SCALE_TOKENS: Final = 32
"""Of each stream."""


@dataclass(frozen=True, slots=True)
class Case:
    """streams: prompts at once. output_tokens: of each in one round. sides: who takes turns."""

    streams: int
    output_tokens: int
    sides: Sequence[str]


#: With eight streams a round takes seconds, so that a_a is measured with one stream only. That comes last: the other
#: lane begins with converting a model and loading torch, which disturbs short rounds most.
CASES: Final = (Case(STREAMS, 4, SIDES[:2]), Case(1, 16, SIDES))

_BARE: Final = "gpunode_benchmarks.engines.bare.llamacpp_child"


async def measure_llamacpp(rounds: int) -> list[Measure]:
    """Measure the sides with each number of streams.

    Args:
        rounds: pairs.

    Raises:
        BenchmarkFailed: a side did not generate what it was asked for.
        GpunodeError: the model is not here or cannot be loaded.
    """
    settings = _settings(THREADS)
    plan = plan_engine(resolve_model(MODEL), settings, detect_machine())
    engine = create_engine(plan, settings)
    load = {"model_path": plan.files[0], "slots": STREAMS, "context_tokens": CONTEXT_TOKENS, "threads": THREADS}
    measures, orders = [], TextOrders()
    async with started_sides(engine, partial(run_text, engine), _BARE, load) as sides:
        for case in CASES:
            await take_turns(sides, [SIDES], partial(orders.order, case.streams, WARM_UP_TOKENS))
            next_order = partial(orders.order, case.streams, case.output_tokens)
            seconds = await take_turns(sides, sequences(rounds, case.sides), next_order)
            about = f"llama.cpp, {case.streams} stream{'s' if case.streams > 1 else ''}"
            measures += side_measures(seconds, work=case.streams * case.output_tokens, unit="tokens/s", about=about)
    return measures


async def measure_llamacpp_scale(models_dir: Path, eight_bit: CatalogueEntry) -> list[Measure]:
    """Measure our engine with two threads: eight streams beside one, turn about.

    Args:
        models_dir: where the files of ``eight_bit`` are.
        eight_bit: a copy of the model with weights of eight bits (see ``eight_bit_copy``), measured first.

    Raises:
        As ``measure_llamacpp``.
    """
    settings = _settings(SCALE_THREADS)
    in_folder = settings.model_copy(update={"models_dir": models_dir, "cache_dir": models_dir})
    return [
        await _scale("scale_8", eight_bit, in_folder, SCALE_ROUNDS),
        await _scale("scale_8, as packaged", resolve_model(MODEL), settings, PACKAGED_SCALE_ROUNDS),
    ]


async def _scale(name: str, entry: CatalogueEntry, settings: EngineSettings, rounds: int) -> Measure:
    orders = TextOrders()
    speeds: dict[int, list[float]] = {1: [], STREAMS: []}
    async with _started(plan_engine(entry, settings, detect_machine()), settings) as engine:
        for streams in speeds:
            await run_text(engine, orders.order(streams, WARM_UP_TOKENS))
        for _ in range(rounds):
            for streams, values in speeds.items():
                elapsed_s = await run_text(engine, orders.order(streams, SCALE_TOKENS))
                values.append(streams * SCALE_TOKENS / elapsed_s)
    return measure(f"llama.cpp, 2 threads: {name}", "8 streams / 1 stream", pair_ratios(speeds[STREAMS], speeds[1]))


@contextlib.asynccontextmanager
async def _started(plan: EnginePlan, settings: EngineSettings) -> AsyncIterator[SupervisedEngine]:
    engine = create_engine(plan, settings)
    try:
        await engine.start()
        yield engine
    finally:
        await engine.stop()


def _settings(threads: int) -> EngineSettings:
    return EngineSettings(
        engine_threads=threads, engine_slots=STREAMS, engine_context_tokens=CONTEXT_TOKENS, engine_gpu=False
    )
