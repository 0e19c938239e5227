"""Which nodes a queued job is sent to first: the original plan's rule, told with what the client knows of nodes. Pure.

The region that was asked for, else the nearest to the client's address; then ability; then success rate, latency and
memory. Before all that: nodes that answer now and have room, because the tracker sends no jobs that would wait there.
"""

from collections.abc import Collection, Iterable

from gpunode._selection import Choice, Standing
from gpunode_protocol.regions import Region

from gpunode_tracker.workers.selection import region_distance_km


def region_order(wanted: Region | None, client: Region | None, live: Collection[Region]) -> tuple[Region | None, ...]:
    """Return the regions to look in, one after the other; None = everywhere at once, the nearest to the tracker first.

    Args:
        wanted: the job's region, None = any.
        client: the region of whoever submitted it, None = not known.
        live: regions with nodes that can do it.
    """
    if wanted is not None:
        return (wanted,)
    if client is None:
        return (None,)
    return tuple(sorted(live, key=lambda region: (region_distance_km(region, client), region)))


def preferred(choices: Iterable[Choice], client: Region | None) -> list[Choice]:
    """Return the nodes in the order in which they are tried. client: as above."""
    return sorted(choices, key=lambda choice: _order(choice, client))


def is_free(choice: Choice) -> bool:
    """Return whether a job would begin there at once."""
    return choice.standing is Standing.ANSWERED and choice.probe is not None and choice.probe.is_free


def free_slots(choices: Iterable[Choice]) -> int:
    """Return how many jobs would begin at once at these nodes together."""
    probes = [choice.probe for choice in choices if is_free(choice) and choice.probe is not None]
    return sum(max(1, probe.slots) - probe.active - probe.queued for probe in probes)


def _order(choice: Choice, client: Region | None) -> tuple[int, bool, int, float, float, int]:
    body = choice.candidate.body
    failures = round(choice.observed.failure_share, 2)  # it never quite gets back to 0
    return (
        choice.standing,
        not is_free(choice),
        region_distance_km(body.region, client),
        failures,
        choice.cost_ms,
        -body.gpu.memory_mb,
    )
