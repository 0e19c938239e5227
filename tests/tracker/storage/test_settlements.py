"""What is kept of contradictions."""

from gpunode_tracker.storage.settlements import MAX_EVIDENCE_PER_SETTLEMENT

from tests.tracker.conftest import World
from tests.tracker.databases import ON_BOTH

pytestmark = ON_BOTH


async def test_evidence_is_bounded(world: World) -> None:
    """A client that contradicts itself for ever fills eight rows."""
    deal = await world.job()
    await world.settle(deal.job.item(1))
    results = await world.settle(*(deal.job.item(count) for count in range(2, 2 + 2 * MAX_EVIDENCE_PER_SETTLEMENT)))
    assert {result.status for result in results} == {"equivocation"}
    assert len(await world.evidence()) == MAX_EVIDENCE_PER_SETTLEMENT
