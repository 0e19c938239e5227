"""The adverts of a running node: its models, and where it stands at the moment."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

from gpunode_protocol.adverts import Advert, Gpu
from gpunode_protocol.mesh import Mesh, MeshError
from gpunode_protocol.signing import Signed

from gpunode_node.advert_builder import AdvertBuilder, Standing
from gpunode_node.network_state import NetworkState
from gpunode_node.own_place import OwnPlace
from gpunode_node.region_distances import RegionDistances
from gpunode_node.served_model import ServedModel
from gpunode_node.tracker_link import TrackerLink


@dataclass
class StandingSource:
    """Where the facts for ``Standing`` come from."""

    gpu: Gpu
    place: OwnPlace
    network: NetworkState
    link: TrackerLink
    mesh: Mesh
    distances: RegionDistances
    _addresses: tuple[str, ...] = ()

    async def standing(self) -> Standing | None:
        """Return where this node stands, None while it has no certificate (it never reached its tracker)."""
        credentials = self.link.credentials
        if credentials is None:
            return None
        with contextlib.suppress(MeshError):  # p2pd is being restarted; it comes back with the addresses it had
            self._addresses = await self.mesh.addresses()
        return Standing(
            network=self.network.view.trust.network,
            certificate=credentials.certificate,
            region=self.place.region,
            country=self.place.country,
            position=self.place.position,
            gpu=self.gpu,
            addresses=self._addresses,
            rtt_ms=self.distances.rtt_ms,
        )


@dataclass
class NodeAdverts:
    """Builds the adverts of all models."""

    builder: AdvertBuilder
    source: StandingSource
    models: Sequence[ServedModel]

    async def build(self, tombstone: bool) -> list[Signed[Advert]]:
        """Return fresh adverts, or tombstones; none while the node has no certificate."""
        standing = await self.source.standing()
        if standing is None:
            return []
        return [self.builder.build(model, standing, tombstone=tombstone) for model in self.models]
