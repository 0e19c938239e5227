"""What ``GET /api/v1/regions`` answers: who is where, how far apart, and where the caller seems to be. Pure."""

from collections.abc import Sequence

from gpunode_protocol.geography import distances_km
from gpunode_protocol.tracker_api import CallerPlace, RegionCount, RegionsReply

from gpunode_tracker.geoip import Place, Unplaced


def regions_reply(counts: Sequence[RegionCount], caller: Place | Unplaced, geoip_built_at: int | None) -> RegionsReply:
    """Return the answer. geoip_built_at: when the database that knows addresses was made, None without one."""
    if isinstance(caller, Unplaced):
        return RegionsReply(regions=tuple(counts), caller_unknown=caller.value, geoip_built_at=geoip_built_at)
    return RegionsReply(regions=tuple(counts), caller=_caller_place(caller), geoip_built_at=geoip_built_at)


def _caller_place(place: Place) -> CallerPlace:
    position = place.position
    return CallerPlace(
        region=place.region,
        country=place.country,
        latitude=position.latitude if position else None,
        longitude=position.longitude if position else None,
        accuracy_km=place.accuracy_km,
        distances_km=distances_km(position) if position else {},
    )
