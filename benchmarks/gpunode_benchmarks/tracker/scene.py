"""One run of the tracker bench: the processes, and what is measured one after the other."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gpunode.demo.children import Children
from gpunode.demo.network import read_when_ready

from gpunode_benchmarks.tracker.effort import Effort
from gpunode_benchmarks.tracker.filling import Filled, fill
from gpunode_benchmarks.tracker.heartbeats import Heartbeats, heartbeat_request, measure_heartbeats
from gpunode_benchmarks.tracker.http_line import http_line
from gpunode_benchmarks.tracker.index_nodes import list_nodes
from gpunode_benchmarks.tracker.lookups import LookupRounds, lookup_paths, lookup_request, measure_lookup
from gpunode_benchmarks.tracker.query_plans import QueryPlan, hot_plans
from gpunode_benchmarks.tracker.server_process import ServerProcess
from gpunode_benchmarks.tracker.submissions import Submissions, measure_submissions
from gpunode_benchmarks.tracker.takes import measure_takes
from gpunode_benchmarks.tracker.tracker_process import bench_settings, settings_order

_PACKAGE: Final = "gpunode_benchmarks.tracker"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was measured. takes_ms: of ``next-job``, keyed_takes_ms: with signed requests. plans: by what is done."""

    lookups: Mapping[str, LookupRounds]
    takes_ms: tuple[float, ...]
    keyed_takes_ms: tuple[float, ...]
    submissions: Submissions
    heartbeats: Heartbeats
    plans: Mapping[str, tuple[QueryPlan, ...]]


async def run_scene(folder: Path, effort: Effort) -> Seen:
    """Fill a tracker's data folder, start it, measure, end it, and look at its statements' plans.

    Raises:
        BenchmarkFailed: something was refused. DemoFailed: a process ended early or was not ready in time.
    """
    data_dir = folder / "t"
    filled = await fill(bench_settings(data_dir), effort)
    with Children(folder) as children:
        children.start("tracker", [json.dumps(settings_order(data_dir))], module=f"{_PACKAGE}.tracker_process")
        run = await asyncio.to_thread(read_when_ready, data_dir, children)
        tracker = ServerProcess.of_run_file(run)
        await list_nodes(run["url"], effort.nodes)
        lookups = await _measure_lookups(children, folder, tracker, filled, effort)
        takers = filled.workers[-effort.takers :]  # those who send heartbeats below hold no jobs
        takes_ms = await measure_takes(tracker.address, takers, effort.takes)
        keyed_takes_ms = await measure_takes(tracker.address, filled.keyed[:-1], effort.takes, are_signed=True)
        submissions = await measure_submissions(
            tracker.address, filled.api_key, lines=effort.lines, duration_s=effort.submit_s
        )
        heartbeats = await measure_heartbeats(
            tracker, filled.workers, per_s=effort.heartbeats_per_s, duration_s=effort.heartbeat_s
        )
        children.check()
    plans = await hot_plans(bench_settings(data_dir), filled)
    return Seen(lookups, tuple(takes_ms), tuple(keyed_takes_ms), submissions, heartbeats, plans)


async def _measure_lookups(
    children: Children, folder: Path, tracker: ServerProcess, filled: Filled, effort: Effort
) -> dict[str, LookupRounds]:
    """Measure each look-up; the bare handlers answer what the tracker has answered just before."""
    paths = lookup_paths(filled)
    requests = {name: lookup_request(path, filled.api_key) for name, path in paths.items()}
    async with http_line(tracker.address) as line:
        await line.ask(heartbeat_request(filled.workers[0]))  # the worker that is looked up is there
        bodies = {path: await line.ask(requests[name]) for name, path in paths.items()}
    bare = await _start_bare(children, folder / "b", bodies)
    return {name: await measure_lookup(tracker, bare, request, effort) for name, request in requests.items()}


async def _start_bare(children: Children, folder: Path, bodies: Mapping[str, bytes]) -> ServerProcess:
    folder.mkdir()
    order: dict[str, Any] = {"folder": str(folder), "answers": {}}
    for number, (path, body) in enumerate(bodies.items()):
        file = folder / f"{number}.body"
        file.write_bytes(body)
        order["answers"][path.partition("?")[0]] = str(file)
    children.start("bare", [json.dumps(order)], module=f"{_PACKAGE}.bare_server")
    return ServerProcess.of_run_file(await asyncio.to_thread(read_when_ready, folder, children))
