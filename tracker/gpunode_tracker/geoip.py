"""Where a public address is: a database file, never a network service."""

import ipaddress
import logging
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region

if TYPE_CHECKING:
    from geoip2.database import Reader
    from geoip2.models import City

logger = logging.getLogger(__name__)

_REMEMBERED: Final = 8_192
"""Addresses of which is remembered whether they are public: the same ones come all the time."""

_REGION_OF_CONTINENT = {
    "AS": Region.ASIA,
    "EU": Region.EUROPE,
    "NA": Region.AMERICA,
    "SA": Region.AMERICA,
    "AF": Region.AFRICA,
    "OC": Region.OCEANIA,
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """What the database says of an address.

    country: two capital letters, or empty. accuracy_km: the radius that the database allows for.
    """

    region: Region | None
    country: str
    position: Position | None
    accuracy_km: int | None


class Unplaced(StrEnum):
    """Why nothing is known of an address."""

    NO_PUBLIC_ADDRESS = "no_public_address"
    NOT_IN_DATABASE = "not_in_database"
    NO_DATABASE = "no_database"


class GeoIp:
    """Looks addresses up in a GeoLite2 or GeoIP2 City database; opened at the first look-up.

    Args:
        path: .mmdb file; None = the one that the package maxminddb-geolite2 ships (2018).
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._reader: Reader | None = None
        self._told = False

    @property
    def built_at(self) -> int | None:
        """When the database was made, Unix seconds; None when there is none that can be read."""
        reader = self._open()
        return None if reader is None else reader.metadata().build_epoch

    def find(self, address: str | None) -> Place | Unplaced:
        """Return where an IP address is, or why that is not known."""
        if address is None or not _is_public(address):
            return Unplaced.NO_PUBLIC_ADDRESS
        reader = self._open()
        if reader is None:
            return Unplaced.NO_DATABASE
        from geoip2.errors import AddressNotFoundError  # noqa: PLC0415 -- most trackers on loopback never need it
        from maxminddb import InvalidDatabaseError  # noqa: PLC0415 -- as above

        try:
            return _place(reader.city(address))
        except AddressNotFoundError:
            return Unplaced.NOT_IN_DATABASE
        except (InvalidDatabaseError, ValueError) as error:
            self._tell(error)
            return Unplaced.NO_DATABASE

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> "Reader | None":
        if self._reader is None:
            from geoip2.database import Reader  # noqa: PLC0415 -- as above
            from maxminddb import InvalidDatabaseError  # noqa: PLC0415 -- as above

            try:
                reader = Reader(self._path or _bundled())
            except (OSError, InvalidDatabaseError) as error:
                self._tell(error)
                return None
            kind = reader.metadata().database_type
            if "City" not in kind:
                reader.close()
                self._tell(f"it is a database of type {kind}")
                return None
            self._reader = reader
        return self._reader

    def _tell(self, cause: object) -> None:
        """Log once what is wrong: anybody may ask, as often as he likes."""
        if not self._told:
            logger.warning(
                "No place is known by address: %s cannot be used: %s. Give a GeoLite2 City file as "
                "GPUNODE_TRACKER_GEOIP_DATABASE, or leave it out for the bundled one.",
                self._path or "the bundled database",
                cause,
                extra={"event": "geoip_failed"},
            )
        self._told = True


def _place(found: "City") -> Place:
    location = found.location
    known = location.latitude is not None and location.longitude is not None
    return Place(
        region=_REGION_OF_CONTINENT.get(found.continent.code or ""),
        country=found.country.iso_code or "",
        position=Position.rounded(location.latitude or 0.0, location.longitude or 0.0) if known else None,
        accuracy_km=location.accuracy_radius,
    )


def _bundled() -> Path:
    return Path(str(resources.files("_maxminddb_geolite2") / "GeoLite2-City.mmdb"))


@lru_cache(_REMEMBERED)
def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
