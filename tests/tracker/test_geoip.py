"""Places by address, from the bundled database and from given ones."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from gpunode_tracker.geoip import GeoIp, Place, Unplaced

from tests.tracker.small_mmdb import BUILT_AT, FRANCE, write_mmdb

PUBLIC = "8.8.8.8"
JULY_2018 = (1_530_403_200, 1_533_081_600)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fe80::1", "", "nonsense", None])
def test_private_addresses_have_no_place(address: str | None) -> None:
    """Nothing is looked up for them."""
    geoip = GeoIp(Path("nowhere.mmdb"))
    assert geoip.find(address) is Unplaced.NO_PUBLIC_ADDRESS


@pytest.mark.parametrize(
    ("address", "region", "country"),
    [
        (PUBLIC, Region.AMERICA, "US"),
        ("193.0.6.139", Region.EUROPE, "NL"),
        ("2001:4860:4860::8888", Region.AMERICA, "US"),
        ("202.12.27.33", Region.ASIA, "JP"),
        ("196.216.2.1", Region.AFRICA, "ZA"),
        ("1.1.1.1", Region.OCEANIA, "AU"),
    ],
)
def test_public_addresses(address: str, region: Region, country: str) -> None:
    """Well-known addresses lie where they did in 2018, which is what the bundled database says of its age."""
    geoip = GeoIp()
    found = geoip.find(address)
    assert isinstance(found, Place)
    assert (found.region, found.country) == (region, country)
    assert JULY_2018[0] <= (geoip.built_at or 0) < JULY_2018[1]
    geoip.close()


def test_a_given_database(tmp_path: Path) -> None:
    """It is asked in place of the bundled one; coordinates leave in whole degrees."""
    geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", FRANCE))
    assert geoip.built_at == BUILT_AT
    assert geoip.find(PUBLIC) == Place(region=Region.EUROPE, country="FR", position=Position(49, 2), accuracy_km=20)
    geoip.close()


def test_a_record_without_coordinates(tmp_path: Path) -> None:
    """What the database leaves out is not known; no place is made up, least of all 0, 0."""
    geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", {"continent": {"code": "AN"}}))
    assert geoip.find(PUBLIC) == Place(region=None, country="", position=None, accuracy_km=None)
    geoip.close()


def test_an_address_that_is_not_in_it(tmp_path: Path) -> None:
    """That is another reason than the lack of a database."""
    geoip = GeoIp(write_mmdb(tmp_path / "own.mmdb", None))
    assert geoip.find(PUBLIC) is Unplaced.NOT_IN_DATABASE
    assert geoip.built_at == BUILT_AT
    geoip.close()


def _missing(_folder: Path) -> Path:
    return Path("nowhere.mmdb")


def _garbage(folder: Path) -> Path:
    path = folder / "garbage.mmdb"
    path.write_bytes(bytes(1_000))
    return path


def _of_another_kind(folder: Path) -> Path:
    return write_mmdb(folder / "asn.mmdb", FRANCE, kind="GeoLite2-ASN")


def _damaged(folder: Path) -> Path:
    path = write_mmdb(folder / "damaged.mmdb", FRANCE)
    data = path.read_bytes()
    path.write_bytes(b"\x00\xff\xff" + data[3:])  # the tree points behind the file's end
    return path


@pytest.mark.parametrize("database", [_missing, _garbage, _of_another_kind, _damaged])
def test_a_database_that_is_of_no_use(
    database: Callable[[Path], Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No place is known and nothing fails; it is said once, with the cause and what to do, however often one asks."""
    geoip = GeoIp(database(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert [geoip.find(PUBLIC) for _ in range(3)] == [Unplaced.NO_DATABASE] * 3
    assert len(caplog.messages) == 1
    assert "GPUNODE_TRACKER_GEOIP_DATABASE" in caplog.text
    geoip.close()
