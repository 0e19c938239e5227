"""Looking for nodes, region after region."""

from collections.abc import Sequence

import pytest
from gpunode._placing import Demand
from gpunode._selection import Choice
from gpunode.errors import NoNodeFound
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task
from gpunode_tracker.dispatch.look import ENOUGH, NodeLook
from gpunode_tracker.dispatch.pauses import FIRST_PAUSE_S

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


class Seconds:
    """A clock that tests turn."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _regions(found: Sequence[Choice]) -> list[Region]:
    return [item.candidate.body.region for item in found]


async def test_farther_regions_are_left_alone_when_there_are_enough_nodes() -> None:
    """And one of them is free."""
    source = Source(*(choice(number, region=EUROPE) for number in range(1, ENOUGH + 1)), choice(9, region=ASIA))
    assert _regions(await NodeLook(source, Seconds()).find(DEMAND, (EUROPE, ASIA), EUROPE)) == [EUROPE] * ENOUGH
    assert source.asked == [EUROPE]


async def test_a_full_region_is_not_enough() -> None:
    """The next one is looked into, and its free node comes first."""
    near = [choice(number, region=EUROPE, probe=FULL) for number in range(1, ENOUGH + 1)]
    source = Source(*near, choice(9, region=ASIA), choice(10, region=AFRICA))
    found = await NodeLook(source, Seconds()).find(DEMAND, (EUROPE, ASIA, AFRICA), EUROPE)
    assert _regions(found) == [ASIA, *[EUROPE] * ENOUGH]
    assert source.asked == [EUROPE, ASIA]


async def test_few_nodes_are_completed_by_farther_ones() -> None:
    """So that there is somebody to go to when one fails."""
    source = Source(choice(1, region=ASIA), choice(2, region=EUROPE))
    assert _regions(await NodeLook(source, Seconds()).find(DEMAND, (EUROPE, AFRICA, ASIA), EUROPE)) == [EUROPE, ASIA]


async def test_a_search_can_be_demanded() -> None:
    """Where the nodes that are known from before have no room."""
    source = Source(choice(1))
    await NodeLook(source, Seconds()).find(DEMAND, (EUROPE,), EUROPE)
    assert not source.searched
    await NodeLook(source, Seconds()).find(DEMAND, (EUROPE,), EUROPE, anew=True)
    assert source.searched


async def test_nobody_at_all() -> None:
    """The last region's reason is told; without any region, that nobody lives who could do it."""
    with pytest.raises(NoNodeFound, match="nobody in asia"):
        await NodeLook(Source(), Seconds()).find(DEMAND, (EUROPE, ASIA), EUROPE)
    with pytest.raises(NoNodeFound, match="No live node") as caught:
        await NodeLook(Source(choice(1)), Seconds()).find(DEMAND, (), EUROPE)
    assert caught.value.is_only_load


async def test_a_region_where_nobody_answers_is_left_alone_for_a_while() -> None:
    """Each look there would take 2 s; unless there is no other, or somebody new has come."""
    source, seconds = Source(choice(1, region=EUROPE, probe=None), choice(2, region=ASIA)), Seconds()
    look = NodeLook(source, seconds)
    for asked in ([EUROPE, ASIA], [ASIA]):
        assert ASIA in _regions(await look.find(DEMAND, (EUROPE, ASIA), EUROPE))
        assert source.asked == asked
        source.asked.clear()
    await look.find(DEMAND, (EUROPE,), EUROPE)
    assert source.asked == [EUROPE]
    look.forget()
    source.asked.clear()
    await look.find(DEMAND, (EUROPE, ASIA), EUROPE)
    assert source.asked == [EUROPE, ASIA]
    seconds.now += FIRST_PAUSE_S
    source.asked.clear()
    await look.find(DEMAND, (EUROPE, ASIA), EUROPE)
    assert source.asked == [EUROPE, ASIA]


async def test_who_had_the_job_before_is_left_out_while_another_answers() -> None:
    """Also if the others are farther, or have no room now; they are looked for in all regions."""
    had, far = choice(1, region=EUROPE), choice(2, region=ASIA, probe=FULL)
    look = NodeLook(Source(had, *(choice(number, region=EUROPE) for number in range(3, 6)), far), Seconds())
    nodes = [item.node for item in await look.find(DEMAND, (EUROPE, ASIA), EUROPE, had={had.node})]
    assert had.node not in nodes
    assert far.node in nodes
    only_far = NodeLook(Source(had, far), Seconds())
    assert await only_far.find(DEMAND, (EUROPE, ASIA), EUROPE, had={had.node}) == [far]


async def test_who_had_the_job_before_is_asked_once_more_where_nobody_else_answers() -> None:
    """It has mended perhaps."""
    had, silent = choice(1), choice(2, probe=None)
    assert await NodeLook(Source(had), Seconds()).find(DEMAND, (EUROPE,), EUROPE, had={had.node}) == [had]
    found = await NodeLook(Source(had, silent), Seconds()).find(DEMAND, (EUROPE,), EUROPE, had={had.node})
    assert had in found
