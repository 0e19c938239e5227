"""The regions of the network."""

from gpunode_protocol.regions import Region


def test_names() -> None:
    """The names that stand in keys, adverts and REST."""
    assert list(Region) == ["asia", "europe", "america", "africa", "oceania"]
