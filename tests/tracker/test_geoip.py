"""Regions by address, from the bundled database."""

from pathlib import Path

import pytest
from gpunode_protocol.regions import Region
from gpunode_tracker.geoip import GeoIp


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "192.168.1.1", "::1", "fe80::1", "", "nonsense", None])
def test_private_addresses_have_no_region(address: str | None) -> None:
    """Nothing is looked up for them."""
    assert GeoIp(Path("nowhere.mmdb")).region_of(address) is None


@pytest.mark.parametrize(
    ("address", "region"),
    [("8.8.8.8", Region.AMERICA), ("193.0.6.139", Region.EUROPE), ("2001:4860:4860::8888", Region.AMERICA)],
)
def test_public_addresses(address: str, region: Region) -> None:
    """Well-known addresses lie where they did in 2018."""
    geoip = GeoIp()
    assert geoip.region_of(address) is region
    geoip.close()


def test_a_missing_database_is_no_failure() -> None:
    """Without a readable database no region is known."""
    assert GeoIp(Path("nowhere.mmdb")).region_of("8.8.8.8") is None
