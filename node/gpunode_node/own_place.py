"""Where this node says that it is: the owner's word, and what GeoIP knows beside it. Pure."""

from dataclasses import dataclass

from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import SeenPlace

from gpunode_node.config import NodeSettings
from gpunode_node.credentials import Credentials
from gpunode_node.errors import RegionUnknown


@dataclass(frozen=True, slots=True)
class OwnPlace:
    """country: two capital letters, or empty. position: None = unknown."""

    region: Region
    country: str = ""
    position: Position | None = None


def own_place(settings: NodeSettings, credentials: Credentials | None) -> OwnPlace:
    """Return what to advertise.

    Where the owner names another region or country than GeoIP, GeoIP is wrong about the address, and its coordinates
    are not taken either.

    Raises:
        RegionUnknown: neither the owner nor the tracker knows the region.
    """
    region = settings.region or (credentials.region if credentials else None)
    if region is None:
        raise RegionUnknown
    seen = credentials.seen if credentials else None
    if seen is None or _is_contradicted(seen, region, settings.country):
        return OwnPlace(region, settings.country, settings.position)
    return OwnPlace(region, settings.country or seen.country, settings.position or _position(seen))


def _is_contradicted(seen: SeenPlace, region: Region, country: str) -> bool:
    return seen.region is not region or (country not in {"", seen.country})


def _position(seen: SeenPlace) -> Position | None:
    if seen.latitude is None or seen.longitude is None:
        return None
    return Position(seen.latitude, seen.longitude)
