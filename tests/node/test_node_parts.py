"""What a heartbeat says of the node."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from gpunode_node.node_parts import vitals_of
from gpunode_node.scheduler import Ticket

from tests.node.virtual_time import virtual_time
from tests.node.world import running_node


@virtual_time
async def test_busy_when_no_slot_is_free(tmp_path: Path) -> None:
    """A node with a free slot is online."""
    async with running_node(tmp_path) as node:
        announcer = SimpleNamespace(adverts=("advert",))
        told = cast("Any", announcer)
        distances = cast("Any", SimpleNamespace(round_trips=("trip",)))
        busy = []
        for _ in range(4):
            busy.append(vitals_of(told, node.intake, distances).busy)
            node.model.scheduler.enter(Ticket(0, 1, 1, lambda: None, lambda *_: None), 0)
        vitals = vitals_of(told, node.intake, distances)
        assert busy == [False] * 4
        assert (vitals.busy, vitals.paused) == (True, False)
        assert 0 < vitals.memory_used_mb < vitals.memory_total_mb
        assert (vitals.adverts, vitals.round_trips) == (("advert",), ("trip",))
