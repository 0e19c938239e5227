"""Regions, as callers are told of them: who is there, how far they are, and where this client is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

HomeFrom = Literal["setting", "geoip", "rtt"]
"""Where the client's region is from: set, by the tracker's GeoIP of its address, or by its measured round trips."""

CallerUnknown = Literal["no_public_address", "not_in_database", "no_database"]
"""Why the tracker cannot place an address: it is of a private network, unknown, or there is no GeoIP database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionInfo:
    """A region, as the tracker counts it and this client has measured it.

    nodes: live ones. models: nodes by the model that they serve. latitude, longitude: of the region's reference point,
    whole degrees. distances_km: from there to each region's. distance_km: from the caller's address to it, None =
    unknown. rtt_ms: to the nearest node that says it is there, as this client measured within a day, None = none was
    measured; measured_nodes: how many were, without those behind relays.
    """

    region: str
    nodes: int
    models: Mapping[str, int]
    latitude: int
    longitude: int
    distances_km: Mapping[str, int]
    distance_km: int | None
    rtt_ms: float | None
    measured_nodes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerInfo:
    """Where the tracker's GeoIP database places the caller's address.

    region: None outside of all regions. country: two capital letters, or empty. latitude, longitude: whole degrees,
    None = unknown. accuracy_km: radius that the database allows for, None = unknown.
    """

    region: str | None
    country: str
    latitude: int | None
    longitude: int | None
    accuracy_km: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRegions:
    """All regions, in a fixed order, and where the caller is.

    home: the region that this client takes for its own, None = not known; home_from: see ``HomeFrom``. caller: None
    when nothing is known of the address; ``caller_unknown`` then says why. geoip_built_at: when the tracker's database
    was made, Unix seconds; None without one.
    """

    regions: tuple[RegionInfo, ...]
    home: str | None
    home_from: HomeFrom | None
    caller: CallerInfo | None
    caller_unknown: CallerUnknown | None
    geoip_built_at: int | None
