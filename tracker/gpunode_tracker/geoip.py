"""The region of a public address, for nodes that name none: a database file, never a network service."""

import ipaddress
import logging
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from gpunode_protocol.regions import Region

if TYPE_CHECKING:
    from geoip2.database import Reader

logger = logging.getLogger(__name__)

_REGION_OF_CONTINENT = {
    "AS": Region.ASIA,
    "EU": Region.EUROPE,
    "NA": Region.AMERICA,
    "SA": Region.AMERICA,
    "AF": Region.AFRICA,
    "OC": Region.OCEANIA,
}


class GeoIp:
    """Looks addresses up in a GeoLite2 City database; opened at the first look-up.

    Args:
        path: .mmdb file; None = the one that the package maxminddb-geolite2 ships (2018).
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._reader: Reader | None = None

    def region_of(self, address: str | None) -> Region | None:
        """Return the region of an IP address; None for private ones and where the database knows nothing."""
        if address is None or not _is_public(address):
            return None
        from geoip2.errors import AddressNotFoundError  # noqa: PLC0415 -- most trackers on loopback never need it

        try:
            found = self._open().city(address)
        except AddressNotFoundError:
            return None
        except (OSError, ValueError) as error:
            logger.warning("No region by address: %s", error, extra={"event": "geoip_failed"})
            return None
        return _REGION_OF_CONTINENT.get(found.continent.code or "")

    def close(self) -> None:
        """Close the file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None

    def _open(self) -> "Reader":
        if self._reader is None:
            from geoip2.database import Reader  # noqa: PLC0415 -- as above

            self._reader = Reader(self._path or _bundled())
        return self._reader


def _bundled() -> Path:
    return Path(str(resources.files("_maxminddb_geolite2") / "GeoLite2-City.mmdb"))


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False
