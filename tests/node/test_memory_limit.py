"""What is done at which share of the memory that a node may take."""

from gpunode_node.memory_limit import STUCK_S, MemoryLimit, MemoryStage

CALM, BUSY, FULL, END = MemoryStage


def _stages(*percents: int) -> list[MemoryStage]:
    """Return the stages of samples that are a second apart."""
    limit = MemoryLimit(100)
    return [limit.judge(percent, at_s) for at_s, percent in enumerate(percents)]


def test_far_from_the_limit() -> None:
    """Nothing is done."""
    assert _stages(1, 74, 50) == [CALM] * 3


def test_busy_until_it_is_well_below() -> None:
    """New jobs are refused from three quarters on, and the way back is a little longer."""
    assert _stages(75, 100, 74, 70, 69, 74) == [BUSY, BUSY, BUSY, BUSY, CALM, CALM]


def test_beyond_the_limit_there_is_no_way_back() -> None:
    """A drain that has begun is told everywhere."""
    assert _stages(101, 150, 20) == [FULL] * 3


def test_what_grows_on_ends_at_once() -> None:
    """In a drain as well as before."""
    assert _stages(101, 151) == [FULL, END]
    assert _stages(20, 151) == [CALM, END]


def test_memory_that_does_not_come_back() -> None:
    """A node that refuses everything for ten minutes serves nobody; one that was well in between begins anew."""
    limit = MemoryLimit(100)
    assert [limit.judge(80, at_s) for at_s in (0, STUCK_S, STUCK_S + 1, STUCK_S + 2)] == [BUSY, BUSY, FULL, FULL]
    limit = MemoryLimit(100)
    samples = [(80, 0), (60, STUCK_S), (80, STUCK_S + 1), (80, 2 * STUCK_S)]
    assert [limit.judge(percent, at_s) for percent, at_s in samples] == [BUSY, CALM, BUSY, BUSY]
