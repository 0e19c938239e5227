"""The transformers backend on a CPU: tokens/s beside bare ``generate``, and what eight streams gain."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Final

from gpunode_engines.config import EngineSettings
from gpunode_engines.devices import detect_machine
from gpunode_engines.plan import create_engine, plan_engine

from gpunode_benchmarks.checkpoint import pull_checkpoint
from gpunode_benchmarks.engines.text import WARM_UP_TOKENS, TextOrders, run_text
from gpunode_benchmarks.engines.turns import THREADS, measure, sequences, side_measures, started_sides, take_turns
from gpunode_benchmarks.report import Measure
from gpunode_benchmarks.stats import pair_ratios

STREAMS: Final = 8
CONTEXT_TOKENS: Final = 256
OUTPUT_TOKENS: Final = 6
SCALE_ROUNDS: Final = 2

_BARE: Final = "gpunode_benchmarks.engines.bare.transformers_child"


async def measure_transformers(rounds: int) -> list[Measure]:
    """Convert the model, measure the sides with one stream, then our engine with one and with eight.

    Args:
        rounds: pairs.

    Raises:
        BenchmarkFailed: a side did not generate what it was asked for.
        GpunodeError: the model is not here or cannot be loaded.
    """
    with tempfile.TemporaryDirectory(prefix="gpunode-bench-") as name:
        folder = Path(name)
        settings = EngineSettings(
            models_dir=folder,
            cache_dir=folder,
            engine_threads=THREADS,
            engine_slots=STREAMS,
            engine_context_tokens=CONTEXT_TOKENS,
            engine_gpu=False,
        )
        plan = plan_engine(pull_checkpoint(folder), settings, detect_machine())
        engine = create_engine(plan, settings)
        load = {"model_path": plan.root, "threads": THREADS}
        orders, run = TextOrders(), partial(run_text, engine)
        one: list[float] = []
        eight: list[float] = []
        async with started_sides(engine, run, _BARE, load, again=False) as sides:
            await take_turns(sides, [tuple(sides)], partial(orders.order, 1, WARM_UP_TOKENS))
            seconds = await take_turns(sides, sequences(rounds, sides), partial(orders.order, 1, OUTPUT_TOKENS))
            for _ in range(SCALE_ROUNDS):
                for streams, values in ((1, one), (STREAMS, eight)):
                    elapsed_s = await run(orders.order(streams, OUTPUT_TOKENS))
                    values.append(streams * OUTPUT_TOKENS / elapsed_s)
    measures = side_measures(seconds, work=OUTPUT_TOKENS, unit="tokens/s", about="transformers, 1 stream")
    return [*measures, measure("transformers: scale_8", "8 streams / 1 stream", pair_ratios(eight, one))]
