"""Looking for nodes, region after region."""

from collections.abc import Sequence

import pytest
from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode.errors import NoNodeFound
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.look import ENOUGH, find_nodes

from tests.tracker.dispatch.test_preference import FULL, choice

ASIA, EUROPE, AFRICA = Region.ASIA, Region.EUROPE, Region.AFRICA
DEMAND = Demand(Task.LLM, "smollm2-135m")


class Source:
    """Has nodes in some regions, and remembers where it was asked."""

    def __init__(self, *choices: Choice) -> None:
        self.asked: list[Region | None] = []
        self.searched = False
        self._choices = choices

    async def choices(self, demand: Demand, *, anew: bool = False) -> list[Choice]:
        """Return those of a region."""
        self.asked.append(demand.region)
        self.searched = anew
        assert demand.model == DEMAND.model
        found = [item for item in self._choices if demand.region in {None, item.candidate.body.region}]
        if not found:
            raise NoNodeFound(f"nobody in {demand.region}")
        return found


def _regions(found: Sequence[Choice]) -> list[Region]:
    return [item.candidate.body.region for item in found]


async def test_farther_regions_are_left_alone_when_there_are_enough_nodes() -> None:
    """And one of them is free."""
    source = Source(*(choice(number, region=EUROPE) for number in range(1, ENOUGH + 1)), choice(9, region=ASIA))
    assert _regions(await find_nodes(source, DEMAND, (EUROPE, ASIA), EUROPE)) == [EUROPE] * ENOUGH
    assert source.asked == [EUROPE]


async def test_a_full_region_is_not_enough() -> None:
    """The next one is looked into, and its free node comes first."""
    near = [choice(number, region=EUROPE, probe=FULL) for number in range(1, ENOUGH + 1)]
    source = Source(*near, choice(9, region=ASIA), choice(10, region=AFRICA))
    found = await find_nodes(source, DEMAND, (EUROPE, ASIA, AFRICA), EUROPE)
    assert _regions(found) == [ASIA, *[EUROPE] * ENOUGH]
    assert source.asked == [EUROPE, ASIA]


async def test_few_nodes_are_completed_by_farther_ones() -> None:
    """So that there is somebody to go to when one fails."""
    source = Source(choice(1, region=ASIA), choice(2, region=EUROPE))
    assert _regions(await find_nodes(source, DEMAND, (EUROPE, AFRICA, ASIA), EUROPE)) == [EUROPE, ASIA]


async def test_a_search_can_be_demanded() -> None:
    """Where the nodes that are known from before have no room."""
    source = Source(choice(1))
    await find_nodes(source, DEMAND, (EUROPE,), EUROPE)
    assert not source.searched
    await find_nodes(source, DEMAND, (EUROPE,), EUROPE, anew=True)
    assert source.searched


async def test_nobody_at_all() -> None:
    """The last region's reason is told; without any region, that nobody lives who could do it."""
    with pytest.raises(NoNodeFound, match="nobody in asia"):
        await find_nodes(Source(), DEMAND, (EUROPE, ASIA), EUROPE)
    with pytest.raises(NoNodeFound, match="No live node") as caught:
        await find_nodes(Source(choice(1)), DEMAND, (), EUROPE)
    assert caught.value.is_only_load
