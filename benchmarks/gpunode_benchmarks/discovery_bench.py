"""``gpunode bench discovery``: how long a client takes to find a node, in networks of 4, 16 and 48 nodes.

A tracker in a process of its own, light nodes and clients on this process's event loop, each with its own p2pd: all
of them share this machine's cores, so the figures are upper bounds of what the software takes.
"""

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

import uvloop
from gpunode.demo.children import Children, DemoFailed
from gpunode.demo.network import start_tracker
from gpunode_node.tracker_client import TrackerClient

from gpunode_benchmarks.discovery_client import WARM_QUESTIONS, Durations, Source, measure_client
from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.light_nodes import MODEL, LightNodes
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.stats import latency_summary

NODE_COUNTS: Final = (4, 16, 48)
CLIENTS: Final = 3
"""Clients for each network and source: each joins anew and so is cold once."""

_Figures = dict[tuple[int, Source], Durations]


def run_discovery_bench(clients: int = CLIENTS, node_counts: Sequence[int] = NODE_COUNTS) -> BenchResult:
    """Start a tracker, let the network grow, and measure at each size.

    Args:
        clients: for each size and source, >= 1.
        node_counts: sizes, growing.

    Raises:
        BenchmarkFailed: a process ended early, or a node could not be found.
        GpunodeError: p2pd cannot be started.
    """
    load_before = load_average()
    with tempfile.TemporaryDirectory(prefix="gpnb-") as name:  # short: below it are Unix sockets
        folder = Path(name)
        try:
            with Children(folder) as children:
                url = start_tracker(folder / "t", children)
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    figures = runner.run(_measure(url, folder, clients, node_counts))
        except DemoFailed as error:
            raise BenchmarkFailed(str(error)) from error
    return BenchResult(
        bench="discovery",
        about="from a question to nodes that are found, verified, probed and in order",
        settings={"clients": clients, "warm_questions": WARM_QUESTIONS, "nodes": ", ".join(map(str, node_counts))},
        measures=_measures(figures),
        load_before=load_before,
        load_after=load_average(),
    )


async def _measure(url: str, folder: Path, clients: int, node_counts: Sequence[int]) -> _Figures:
    figures: _Figures = {}
    async with AsyncExitStack() as stack:
        tracker = TrackerClient(url)
        stack.push_async_callback(tracker.close)
        nodes = LightNodes(stack, folder, tracker, await tracker.network())
        for count in node_counts:
            await nodes.grow(count)
            for source in (*Source,) * clients:  # in turn, so that both meet the same load
                durations = figures.setdefault((count, source), Durations())
                client = f"c{count}-{source}-{len(durations.cold_ms)}"
                await measure_client(url, MODEL, source, folder / client, durations)
    return figures


def _measures(figures: Mapping[tuple[int, Source], Durations]) -> tuple[Measure, ...]:
    return tuple(
        Measure(
            name=f"{kind}_{source}_{count}",
            about=f"{count} nodes, {_ABOUT_SOURCE[source]}: {about}",
            unit="ms",
            count=len(values),
            values=latency_summary(values),
        )
        for (count, source), durations in figures.items()
        for kind, about, values in (
            ("cold", "cold, just after joining", durations.cold_ms),
            ("warm", "warm", durations.warm_ms),
            ("warm_stale", "warm, probed again", durations.stale_ms),
        )
    )


_ABOUT_SOURCE: Final[Mapping[Source, str]] = {Source.DHT: "DHT only", Source.BOTH: "DHT and index"}
