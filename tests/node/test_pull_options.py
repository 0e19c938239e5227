"""Options of a pull worker."""

import pytest
import typer
from gpunode_node.errors import InvalidSettings
from gpunode_node.pull_options import MESH_ONLY, refuse_mesh_options, tracker_of


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bootstrap", "tracker.example"),
        ("listen", ("/ip4/1.1.1.1/tcp/1",)),
        ("port", 0),
        ("announce_address", ("/dns4/x/tcp/1",)),
        ("quic", False),
        ("latitude", 1.0),
        ("longitude", 0.0),
    ],
)
def test_options_of_the_mesh_are_refused(name: str, value: object) -> None:
    """By their names; for the tracker's address the right option is told."""
    with pytest.raises(typer.BadParameter, match=MESH_ONLY[name]) as refused:
        refuse_mesh_options({name: value, "model": ("a",)})
    assert ("--tracker URL" in refused.value.message) is (name == "bootstrap")


def test_other_options_are_not() -> None:
    """Nor those that were not given."""
    refuse_mesh_options({"model": ("a",), "port": None, "listen": (), "quic": None, "drain_timeout_s": 3.0})


def test_where_the_tracker_is_named() -> None:
    """The option, then the environment, then the node's setting; else the message names the option."""
    variables = {"GPUNODE_TRACKER": "https://b"}
    assert tracker_of("https://a", variables, "c") == "https://a"
    assert tracker_of(None, variables, "c") == "https://b"
    assert tracker_of(None, {"GPUNODE_TRACKER": " "}, "c") == "c"
    with pytest.raises(InvalidSettings, match="--tracker URL"):
        tracker_of(None, {}, "")
