"""Where a node says that it is."""

from typing import Any

import pytest
from gpunode_node.config import NodeSettings
from gpunode_node.credentials import Credentials
from gpunode_node.errors import RegionUnknown
from gpunode_node.own_place import OwnPlace, own_place
from gpunode_protocol.geography import Position
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import SeenPlace

from tests.node.fake_tracker import certificate

SEEN = SeenPlace(region=Region.EUROPE, country="FR", latitude=49, longitude=2, accuracy_km=20)


def _place(seen: SeenPlace | None = SEEN, **said: object) -> OwnPlace:
    return own_place(NodeSettings.load(said), Credentials("token", certificate(), Region.EUROPE, seen))


def test_what_geoip_knows() -> None:
    """Counts where the owner says nothing."""
    assert _place() == OwnPlace(Region.EUROPE, "FR", Position(49, 2))
    assert _place(seen=None) == OwnPlace(Region.EUROPE)
    assert _place(SeenPlace(region=Region.EUROPE)) == OwnPlace(Region.EUROPE)


def test_the_owners_word_wins() -> None:
    """Piece by piece, where GeoIP does not contradict it."""
    assert _place(region="europe") == _place(country="FR") == _place()
    assert _place(latitude=43.3, longitude=5.4) == OwnPlace(Region.EUROPE, "FR", Position(43, 5))


@pytest.mark.parametrize("said", [{"region": "asia"}, {"country": "DE"}])
def test_coordinates_of_somewhere_else_are_not_taken(said: dict[str, Any]) -> None:
    """GeoIP is wrong about this address, the owner knows better."""
    place = _place(**said)
    assert place.position is None
    assert place == OwnPlace(Region(said.get("region", "europe")), said.get("country", ""))
    assert _place(**said, latitude=1, longitude=104).position == Position(1, 104)


def test_nobody_knows_the_region() -> None:
    """The owner is asked for it."""
    for credentials in (None, Credentials("token", certificate(), None)):
        with pytest.raises(RegionUnknown):
            own_place(NodeSettings.load({}), credentials)
    assert own_place(NodeSettings.load({"region": "asia"}), None) == OwnPlace(Region.ASIA)
