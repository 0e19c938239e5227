"""What ``GET /api/v1/regions`` answers: who is where, how far apart, and where the caller seems to be. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from gpunode_protocol.geography import distances_km
from gpunode_protocol.tracker_api import CallerPlace, RegionCount, RegionsReply, SeenPlace

from gpunode_tracker.geoip import Place, Unplaced


def regions_reply(
    counts: Sequence[RegionCount],
    caller: Place | Unplaced,
    geoip_built_at: int | None,
    workers: Mapping[str, int] = MappingProxyType({}),
) -> RegionsReply:
    """Return the answer.

    Args:
        counts: of each region.
        caller: where whoever asks is.
        geoip_built_at: when the database that knows addresses was made, None without one.
        workers: live pull workers by region.
    """
    counts = [count.model_copy(update={"workers": workers.get(count.region, 0)}) for count in counts]
    if isinstance(caller, Unplaced):
        return RegionsReply(regions=tuple(counts), caller_unknown=caller.value, geoip_built_at=geoip_built_at)
    return RegionsReply(regions=tuple(counts), caller=_caller_place(caller), geoip_built_at=geoip_built_at)


def seen_place(place: Place) -> SeenPlace:
    """Return a place as nodes are told of it."""
    position = place.position
    return SeenPlace(
        region=place.region,
        country=place.country,
        latitude=position.latitude if position else None,
        longitude=position.longitude if position else None,
        accuracy_km=place.accuracy_km,
    )


def _caller_place(place: Place) -> CallerPlace:
    distances = distances_km(place.position) if place.position else {}
    return CallerPlace(**dict(seen_place(place)), distances_km=distances)
