"""What a node that pauses and resumes tells the mesh and the tracker."""

from dataclasses import dataclass, field
from typing import Any, cast

from gpunode_node.mesh_presence import MeshPresence


@dataclass
class _Announcer:
    """Keeps what it was told."""

    silent: bool = False
    told: list[str] = field(default_factory=list)

    async def take_back(self) -> None:
        self.told.append("taken back")

    async def withdraw(self, deadline_s: float) -> None:
        assert deadline_s > 0
        self.told.append("tombstones")

    def renew(self) -> None:
        self.told.append("renew")

    async def announce_when_due(self) -> bool:
        self.told.append("adverts")
        return True


async def test_adverts_go_and_come_with_the_trackers_knowledge() -> None:
    """Tombstones for the mesh, a heartbeat for the tracker; then adverts anew and another heartbeat."""
    announcer, beats = _Announcer(), list[bool]()

    async def beat() -> None:
        beats.append(announcer.silent)

    presence = MeshPresence(cast("Any", announcer), beat)
    presence.hush()
    await presence.leave()
    assert (sorted(announcer.told), beats) == (["taken back", "tombstones"], [True])
    await presence.come_back()
    assert (announcer.told[2:], beats) == (["renew", "adverts"], [True, False])
