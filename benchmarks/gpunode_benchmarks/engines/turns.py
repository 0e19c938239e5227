"""Three processes with the same model loaded take turns: the library alone, our engine, and the library once more.

In every round all three get the same order, one after the other, in another sequence each time. ``ratio`` is engine /
bare of one round, ``a_a`` is bare again / bare: what the ratio would show if there were no difference at all.
"""

import asyncio
import contextlib
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from gpunode_engines.supervisor import SupervisedEngine

from gpunode_benchmarks.engines.bare_child import bare_children
from gpunode_benchmarks.report import Measure
from gpunode_benchmarks.stats import pair_ratios, spread_summary

SIDES: Final = ("bare", "engine", "bare_again")
"""The library alone, our engine, and the library alone in another process (for ``a_a``)."""

SEQUENCES: Final = 6
"""In so many rounds every side precedes every other one equally often."""

THREADS: Final = 1
"""More threads measure the other processes of the machine: they wait for each other at every layer."""

Order = Mapping[str, Any]
"""What is to be done, in the words of the bare library's child."""
Run = Callable[[Order], Awaitable[float]]
"""Does an order; returns seconds."""


def sequences(rounds: int, sides: Collection[str] = SIDES) -> Iterator[tuple[str, ...]]:
    """Yield the sequence of the sides for each round, in turn all that there are.

    Args:
        rounds: >= 1; in multiples of six no side has an advantage.
        sides: two or all three.
    """
    return itertools.islice(itertools.cycle(itertools.permutations(sides)), rounds)


@contextlib.asynccontextmanager
async def started_sides(
    engine: SupervisedEngine, run: Run, bare: str, load: Mapping[str, Any], *, again: bool = True
) -> AsyncIterator[Mapping[str, Run]]:
    """Start the processes of all sides at once, and end them with the context.

    Args:
        engine: not yet started.
        run: does an order with it.
        bare: module of the library alone. load: what it loads. again: whether there is a second one.

    Raises:
        BenchmarkFailed, GpunodeError: a side cannot load the model.
    """
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.stop)
        starting = asyncio.create_task(engine.start())
        stack.push_async_callback(asyncio.wait, [starting])
        children = await stack.enter_async_context(bare_children(bare, load, 2 if again else 1))
        await starting
        bares = dict(zip(("bare", "bare_again"), (child.run for child in children), strict=False))
        yield {"engine": run, **bares}


async def take_turns(
    sides: Mapping[str, Run], rounds: Iterable[Sequence[str]], next_order: Callable[[], Order]
) -> Mapping[str, list[float]]:
    """Return each side's seconds, a value a round in which it took part.

    Args:
        rounds: the sequence of sides in each.
        next_order: makes each round's order.
    """
    seconds: defaultdict[str, list[float]] = defaultdict(list)
    for sequence in rounds:
        order = next_order()
        for side in sequence:
            seconds[side].append(await sides[side](order))
    return seconds


def side_measures(seconds: Mapping[str, Sequence[float]], *, work: float, unit: str, about: str) -> list[Measure]:
    """Return speeds and ratios of the sides that there are.

    Args:
        seconds: see ``take_turns``.
        work: that of one round, in the numerator of ``unit``. unit: of the speeds.
        about: which work, a few words; also the beginning of the measures' names.
    """
    speeds = {side: [work / value for value in values] for side, values in seconds.items()}
    measures = [
        measure(f"{about}: bare library", unit, speeds["bare"]),
        measure(f"{about}: engine", unit, speeds["engine"]),
        measure(f"{about}: ratio", "engine / bare", pair_ratios(speeds["engine"], speeds["bare"])),
    ]
    if "bare_again" in speeds:
        measures.append(measure(f"{about}: a_a", "bare / bare", pair_ratios(speeds["bare_again"], speeds["bare"])))
    return measures


def measure(name: str, unit: str, values: Sequence[float]) -> Measure:
    """Return a figure: median and quartiles of its values."""
    return Measure(name=name, about=name, unit=unit, count=len(values), values=spread_summary(values))
