"""The tracker as its own client sees it: what ``TrackerClient`` asks by HTTP, without HTTP."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

from gpunode.errors import Unauthorized
from gpunode_protocol import tracker_api as api
from gpunode_protocol.regions import Region
from gpunode_protocol.tasks import Task

from gpunode_tracker.geoip import Unplaced
from gpunode_tracker.region_overview import regions_reply

if TYPE_CHECKING:
    from gpunode_tracker.tracker import Tracker


class LocalTracker:
    """Implements ``gpunode._tracker.SessionTracker``. It has no account: each job brings its own grants and accounts.

    Args:
        tracker: the one whose process this is.
    """

    def __init__(self, tracker: "Tracker") -> None:
        self._tracker = tracker
        self.url = f"local:{tracker.keys.network}"
        self.api_key: str | None = None

    async def close(self) -> None:
        """Nothing is open."""

    async def network(self) -> api.NetworkInfo:
        """Return what a newcomer needs; the way to the tracker's own mesh peer does not leave the machine."""
        tracker = self._tracker
        info = tracker.network_info()
        if tracker.mesh is None:
            return info
        near = near_addresses(tracker.settings.mesh_addresses, tracker.mesh.peer_id)
        return info.model_copy(update={"bootstrap": tuple(dict.fromkeys((*near, *info.bootstrap)))})

    async def nodes(self, *, task: str, model: str | None, region: str | None) -> api.NodesReply:
        """Return the signed index of live nodes."""
        place = None if region is None else Region(region)
        return self._tracker.signed_index(task=Task(task), model=model, region=place)

    async def regions(self) -> api.RegionsReply:
        """Return live nodes by region. Where the tracker is, nobody told it: its round trips do."""
        tracker = self._tracker
        counts = tracker.index.regions(tracker.clock())
        return regions_reply(counts, Unplaced.NO_PUBLIC_ADDRESS, tracker.geoip.built_at)

    async def settle(self, batch: api.SettlementBatch) -> api.SettlementReply:
        """Settle vouchers."""
        return api.SettlementReply(results=tuple(await self._tracker.settle(batch.items)))

    async def grant(self, request: api.GrantRequest) -> api.GrantReply:
        """Refuse. Raises Unauthorized."""
        _refuse(request)

    async def report(self, request: api.ReportRequest) -> None:
        """Refuse. Raises Unauthorized."""
        _refuse(request)

    async def balance(self) -> api.BalanceReply:
        """Refuse. Raises Unauthorized."""
        _refuse()

    async def own_nodes(self) -> api.OwnNodesReply:
        """Refuse. Raises Unauthorized."""
        _refuse()


def near_addresses(listen: Iterable[str], peer_id: str) -> list[str]:
    """Return the multiaddrs by which this machine reaches a peer that listens on it; those with port 0 tell nothing."""
    return [
        f"{address.replace('/ip4/0.0.0.0/', '/ip4/127.0.0.1/').replace('/ip6/::/', '/ip6/::1/')}/p2p/{peer_id}"
        for address in listen
        if address.split("/")[4:5] != ["0"]
    ]


def _refuse(_request: object = None) -> NoReturn:
    raise Unauthorized("The tracker has no account of its own: a job is paid by whoever submitted it.", status=401)
