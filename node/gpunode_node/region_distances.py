"""How far the regions are from this node: one of each region's nodes is probed now and then."""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable
from math import ceil
from random import Random
from typing import Final

from gpunode_protocol.adverts import Advert
from gpunode_protocol.dht_keys import ANY_MODEL, keys_to_search
from gpunode_protocol.errors import GpunodeError
from gpunode_protocol.mesh import Mesh, MeshStream, PeerUnreachable
from gpunode_protocol.messages import PROBE_PROTOCOL
from gpunode_protocol.probe import PROBE_TIMEOUT_S, ProbeClient
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import MAX_ROUND_TRIPS, MAX_RTT_MS, RoundTrip

from gpunode_node.network_state import NetworkState

logger = logging.getLogger(__name__)

INTERVAL_S: Final = 300.0
"""Each region costs one look-up and one probe in this time, whatever the network's size."""
PROBES_REMEMBERED: Final = 12
"""The smallest round trip of an hour counts: queues only ever add, and some nodes of a region are far from others."""
_NONCE_BYTES: Final = 16


class RegionDistances:
    """Round trips to the regions, in whole ms.

    Args:
        mesh: joined, or about to be.
        network: names the DHT's keys.
        random: picks whom to ask.
    """

    def __init__(self, mesh: Mesh, network: NetworkState, random: Random) -> None:
        self._mesh = mesh
        self._network = network
        self._random = random
        self._samples: dict[Region, deque[int]] = {}
        self._trips: deque[RoundTrip] = deque(maxlen=MAX_ROUND_TRIPS)

    @property
    def rtt_ms(self) -> dict[str, int]:
        """The round trips that are known, by region, as adverts tell them."""
        return {str(region): min(self._samples[region]) for region in sorted(self._samples)}

    @property
    def round_trips(self) -> tuple[RoundTrip, ...]:
        """The newest 16, with what the others said of their place, as heartbeats tell them: oldest first."""
        return tuple(self._trips)

    async def run(self) -> None:
        """Measure every 5 minutes, for ever."""
        while True:
            await self.measure()
            await asyncio.sleep(INTERVAL_S)

    async def measure(self) -> None:
        """Probe one node of each region; a region where that fails keeps what is known of it."""
        await asyncio.gather(*(self._measure(region) for region in Region))

    async def _measure(self, region: Region) -> None:
        try:
            body = await self._pick(region)
            if body is None:
                return
            stream = await self._mesh.open_stream(body.peer, PROBE_PROTOCOL, body.addresses, deadline_s=PROBE_TIMEOUT_S)
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S):
                    rtt_ms = await round_trip_ms(stream, asyncio.get_running_loop().time)
            finally:
                stream.abort()
        except (GpunodeError, TimeoutError) as error:
            logger.debug("distance to %s: %s", region, error, extra={"event": "distance_unknown", "region": region})
            return
        samples = self._samples.setdefault(region, deque(maxlen=PROBES_REMEMBERED))
        samples.append(min(round(rtt_ms), MAX_RTT_MS))
        self._trips.append(_trip_to(body, rtt_ms))

    async def _pick(self, region: Region) -> Advert | None:
        """Return a node of a region that is reached without a relay, from one of the keys that hold its nodes."""
        network = self._network
        keys = keys_to_search(network.view.trust.network, None, ANY_MODEL, region, network.info.shard_bits)
        found = await self._mesh.find(self._random.choice(keys))
        adverts: list[Advert] = [record.content.body for record in found.records]
        others = [body for body in adverts if body.peer != self._mesh.peer_id and body.path == "direct"]
        return self._random.choice(others) if others else None


def _trip_to(body: Advert, rtt_ms: float) -> RoundTrip:
    """Return what is told of a probe; rounded up, so that no node seems nearer than it is."""
    return RoundTrip(
        peer=body.peer,
        rtt_ms=min(ceil(rtt_ms), MAX_RTT_MS),
        region=body.region,
        latitude=body.latitude,
        longitude=body.longitude,
    )


async def round_trip_ms(stream: MeshStream, clock: Callable[[], float]) -> float:
    """Return what a probe takes on a stream, in ms; the exchange before it pays for the connection's set-up.

    Raises:
        PeerUnreachable: the stream ended. GpunodeError: no answer to these probes.
    """
    await _exchange(stream)
    sent_at = clock()
    await _exchange(stream)
    return 1000 * (clock() - sent_at)


async def _exchange(stream: MeshStream) -> None:
    probe = ProbeClient(nonce=secrets.token_bytes(_NONCE_BYTES))
    await stream.write(probe.data_to_send())
    while True:
        data = await stream.read()
        if not data:
            raise PeerUnreachable
        if probe.receive_data(data) is not None:
            return
