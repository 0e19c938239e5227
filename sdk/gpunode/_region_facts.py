"""The tracker's count of regions, with what this client knows of them, as callers are told it. Pure."""

from collections.abc import Mapping, Sequence

from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import CallerPlace, RegionCount, RegionsReply

from gpunode._home import Home
from gpunode.regions import CallerInfo, NetworkRegions, RegionInfo


def network_regions(reply: RegionsReply, home: Home, rtts_ms: Mapping[Region, Sequence[float]]) -> NetworkRegions:
    """Return what ``client.regions`` returns; rtts_ms: measured, one a node, by the region that nodes claim."""
    away_km = reply.caller.distances_km if reply.caller else {}
    return NetworkRegions(
        regions=tuple(
            _region_info(count, away_km.get(count.region), rtts_ms.get(count.region, ())) for count in reply.regions
        ),
        home=None if home.region is None else home.region.value,
        home_from=home.taken_from,
        caller=None if reply.caller is None else _caller_info(reply.caller),
        caller_unknown=reply.caller_unknown,
        geoip_built_at=reply.geoip_built_at,
    )


def _region_info(count: RegionCount, distance_km: int | None, rtts_ms: Sequence[float]) -> RegionInfo:
    return RegionInfo(
        region=count.region.value,
        nodes=count.nodes,
        models=dict(count.models),
        latitude=count.latitude,
        longitude=count.longitude,
        distances_km=dict(count.distances_km),
        distance_km=distance_km,
        rtt_ms=min(rtts_ms, default=None),
        measured_nodes=len(rtts_ms),
    )


def _caller_info(place: CallerPlace) -> CallerInfo:
    return CallerInfo(
        region=None if place.region is None else place.region.value,
        country=place.country,
        latitude=place.latitude,
        longitude=place.longitude,
        accuracy_km=place.accuracy_km,
    )
