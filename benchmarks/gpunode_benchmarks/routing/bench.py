"""``gpunode bench routing``: how often a client chooses the node that answers soonest, in a world whose truth is known.

Whole nodes in the network lab, with engines that only sleep, each at its own pace. Half of the jobs find a quiet world,
half of them one in which each client's nearest node has ten times the jobs that it can do.
"""

import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from gpunode_benchmarks.errors import BenchmarkFailed
from gpunode_benchmarks.report import BenchResult, Measure, load_average
from gpunode_benchmarks.routing.detour import Detour
from gpunode_benchmarks.routing.jobs import FIRST_CONTACT, FIRST_JOB, WARM_UP
from gpunode_benchmarks.routing.scene import CLIENTS, CROWD, MODEL, PACES, WORLD, run_scene
from gpunode_benchmarks.routing.truth import DoneJob, Truth
from gpunode_benchmarks.stats import latency_summary, median

JOBS: Final = 30
"""Five of each of three clients in each of two phases; ``seconds`` of the result tells how long that took."""
GOOD_MS: Final = 20.0
PHASES: Final = ("calm", "crowded")
START_PARTS: Final = {
    "joining": "joining the mesh",
    "looking_up": "looking nodes up",
    "probing": "asking them",
    "grant": "waiting for a grant",
}
"""Of ``gpunode.types.StartTimes``; what is left of a first job is the job itself."""
_SEED: Final = 5


def run_routing_bench(jobs: int = JOBS) -> BenchResult:
    """Start the world, let its clients do the jobs, compare each choice with the best one, end the world.

    Args:
        jobs: that are judged, >= 6; three more each client come before them.

    Raises:
        BenchmarkFailed: something took far too long. LabUnavailable: there can be no lab here.
        LabFailed: a program in the lab failed.
    """
    load_before, began_at = load_average(), time.monotonic()
    truth = run_scene(jobs, Random(_SEED))  # noqa: S311 -- what is asked for is no secret
    return BenchResult(
        bench="routing",
        about="choosing the node that answers soonest; engines that sleep at a set pace, in an assumed world",
        settings={
            "world": WORLD,
            "model": MODEL,
            "nodes": len(PACES),
            "clients": len(CLIENTS),
            "crowd": CROWD,
            "seconds": round(time.monotonic() - began_at),
        },
        measures=tuple(measures_of(truth)),
        load_before=load_before,
        load_after=load_average(),
    )


def measures_of(truth: Truth) -> Iterator[Measure]:
    """Return the figures, all but one of jobs that only one node was asked for.

    Raises:
        BenchmarkFailed: a phase, first contact, or the clients' first jobs, have no such job.
    """
    judged = [job for job in truth.jobs if not job.disturbed]
    regrets = [[truth.regret_ms(job) for job in judged if job.phase == phase] for phase in range(len(PHASES))]
    contacts = [truth.round_trips(job) for job in judged if job.phase == FIRST_CONTACT]
    firsts = [job for job in judged if job.phase == FIRST_JOB]
    if not all([*regrets, contacts, firsts]):
        raise BenchmarkFailed(
            "A phase has no job that can be judged: there were too few, or more than one node was asked for each. "
            "Close other programs and give --jobs 6 or more."
        )
    yield from _of_phase("", "all jobs", [regret for of_phase in regrets for regret in of_phase])
    for name, of_phase in zip(PHASES, regrets, strict=True):
        yield from _of_phase(f"{name}_", f"{name} world", of_phase)
    hindsight = [truth.hindsight_regret_ms(job) for job in judged if job.phase >= 0]
    yield from _of_phase("hindsight_", "counting jobs that were on their way when it chose", hindsight)
    calm = [job for job in judged if job.phase == 0]
    yield _times("over_floor", "first token beyond round trip, queue and prompt", map(truth.over_floor_ms, calm))
    yield _times("found", "of it, choosing", (job.found_ms for job in calm))
    yield Measure(
        name="first_contact",
        about="first token beyond queue and prompt, from a known node without a connection",
        unit="round trips",
        count=len(contacts),
        values={"median": median(contacts), "max": max(contacts)},
    )
    yield from _of_first_jobs(truth, firsts)
    yield from _of_detours(truth.detours)
    disturbed = [job.disturbed for job in truth.jobs if job.phase != WARM_UP]
    yield Measure(
        name="disturbed",
        about="jobs that more than one node was asked for, not judged",
        unit="jobs",
        count=len(disturbed),
        values={"median": sum(disturbed)},
    )


def _of_first_jobs(truth: Truth, jobs: Sequence[DoneJob]) -> Iterator[Measure]:
    """Return what a client's first job of all takes until its first token, and the parts of it."""
    begun = [truth.travel_ms(job) for job in jobs]
    yield _longest("first_job", "a client's first token of all, beyond queue and prompt", begun)
    for part, about in START_PARTS.items():
        yield _longest(f"first_job_{part}", f"of it, {about}", [job.start[f"{part}_ms"] for job in jobs])
    rest = [whole - sum(job.start.values()) for whole, job in zip(begun, jobs, strict=True)]
    yield _longest("first_job_job", "of it, the job itself", rest)


def _longest(name: str, about: str, values_ms: Sequence[float]) -> Measure:
    values = {"median": median(values_ms), "max": max(values_ms)}
    return Measure(name=name, about=about, unit="ms", count=len(values_ms), values=values)


def _of_detours(detours: Sequence[Detour]) -> Iterator[Measure]:
    for name, about, values in (
        ("direct_first", "straight to a node: first token", [detour.direct_first_ms for detour in detours]),
        ("direct_whole", "straight to a node: whole answer", [detour.direct_whole_ms for detour in detours]),
        ("queued_first", "through the tracker: first token", [detour.queued_first_ms for detour in detours]),
        ("queued_whole", "through the tracker: whole answer", [detour.queued_whole_ms for detour in detours]),
    ):
        if values:
            yield _longest(name, about, values)


def _of_phase(prefix: str, about: str, regrets: Sequence[float]) -> Iterator[Measure]:
    good = sum(regret <= GOOD_MS for regret in regrets) / len(regrets)
    yield Measure(
        name=f"{prefix}within_20ms",
        about=f"{about}: within {GOOD_MS:g} ms of the best",
        unit="share",
        count=len(regrets),
        values={"median": good},
    )
    yield _times(f"{prefix}regret", f"{about}: later than the best", regrets)


def _times(name: str, about: str, values_ms: "Iterator[float] | Sequence[float]") -> Measure:
    values = list(values_ms)
    return Measure(name=name, about=about, unit="ms", count=len(values), values=latency_summary(values))
