"""The memory of the node's process."""

import os

import psutil
import pytest
from gpunode_node.errors import NodeMemoryFull
from gpunode_node.memory_watch import MemoryWatch, own_resident_bytes

from tests.node.virtual_time import virtual_time

MEBIBYTE = 1024**2


def test_the_process_itself_is_measured() -> None:
    """As others see it, and not empty."""
    seen = psutil.Process(os.getpid()).memory_info().rss
    assert abs(own_resident_bytes() - seen) < 10 * MEBIBYTE < seen


def test_from_well_to_full(caplog: pytest.LogCaptureFixture) -> None:
    """The problem names both figures and comes and goes; beyond the limit it is the reason to drain."""
    samples = iter([50, 80, 60, 101])
    watch = MemoryWatch(100 * MEBIBYTE, lambda: next(samples) * MEBIBYTE)
    watch.look(0)
    watch.raise_if_full()
    assert (watch.problem, watch.full.is_set()) == ("", False)
    watch.look(1)
    assert "80 of the 100 MiB" in watch.problem
    watch.look(2)
    assert (watch.problem, watch.full.is_set()) == ("", False)
    watch.look(3)
    assert watch.full.is_set()
    with pytest.raises(NodeMemoryFull, match=r"101 of the 100 MiB.*GPUNODE_MEMORY_MAX_BYTES"):
        watch.raise_if_full()
    assert [record.message.split()[0:3] for record in caplog.records] == [
        ["The", "node's", "process"],
        ["The", "node's", "memory"],
        ["The", "node's", "process"],
    ]


@virtual_time
async def test_it_looks_until_the_end() -> None:
    """A drain does not end the watch; what grows on does."""
    samples = iter([50, 101, 149, 151])
    watch = MemoryWatch(100, lambda: next(samples))
    with pytest.raises(NodeMemoryFull):
        await watch.run()
    assert list(samples) == []
