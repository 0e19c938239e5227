"""Messages for people."""

from gpunode_node.errors import NoBootstrap, RegionUnknown, TrackerRefused


def test_messages_say_what_to_do() -> None:
    """The docstring is the message; the tracker's words are kept."""
    assert "--bootstrap" in str(NoBootstrap())
    assert "--region" in str(RegionUnknown())
    assert str(TrackerRefused(403, "shut out")) == "The tracker refused the request (403): shut out"
    assert "no reason" in str(TrackerRefused(400, ""))
