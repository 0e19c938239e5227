"""The node's settings and where they come from."""

from pathlib import Path
from typing import Any

import pytest
from gpunode_node.config import NodeSettings
from gpunode_node.errors import InvalidSettings, NoBootstrap
from gpunode_protocol.errors import BadTrackerAddress
from gpunode_protocol.geography import Position
from gpunode_protocol.payloads import MAX_BLOB_BYTES
from gpunode_protocol.regions import Region
from pydantic import ValidationError


def test_defaults() -> None:
    """The platform's folder, an exposure of 50 credits, the tracker's word for the rest."""
    settings = NodeSettings.load({})
    assert settings.data_dir.parts[-2:] == ("gpunode", "node")
    assert settings.exposure_microcredits == 50_000_000
    assert (settings.model, settings.region, settings.quic) == ((), None, True)
    assert (settings.sandbox, settings.private_folders) == ("auto", (settings.data_dir,))
    with pytest.raises(NoBootstrap, match="--bootstrap"):
        _ = settings.tracker


def test_option_environment_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option wins over the environment, and that over the file."""
    file = tmp_path / "g.toml"
    file.write_text('[node]\nname = "file"\ncountry = "DE"\nport = 1\nengine_slots = 3\n[tracker]\nport = 9\n')
    monkeypatch.setenv("GPUNODE_CONFIG", str(file))
    monkeypatch.setenv("GPUNODE_PORT", "2")
    monkeypatch.setenv("GPUNODE_NAME", "environment")
    monkeypatch.setenv("GPUNODE_MODEL", "one, two")
    settings = NodeSettings.load({"name": "option", "region": None})
    assert (settings.name, settings.port, settings.country, settings.engine_slots) == ("option", 2, "DE", 3)
    assert settings.model == ("one", "two")


def test_a_list_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TOML arrays are lists of models and addresses."""
    (tmp_path / "gpunode.toml").write_text('[node]\nmodel = ["a", "b"]\nregion = "asia"\n')
    monkeypatch.chdir(tmp_path)
    settings = NodeSettings.load({})
    assert (settings.model, settings.region) == (("a", "b"), Region.ASIA)


def test_a_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was asked for must be there."""
    monkeypatch.setenv("GPUNODE_CONFIG", "nowhere.toml")
    with pytest.raises(InvalidSettings, match="nowhere"):
        NodeSettings.load({})


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 70_000), ("region", "atlantis"), ("country", "Germany"), ("network_id", "x"), ("model", ("a",) * 5)],
)
def test_bad_values(name: str, value: Any) -> None:
    """The message names the setting."""
    with pytest.raises(InvalidSettings, match=name):
        NodeSettings.load({name: value})


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("model", ("a",) * 5, "model: must have at most 4 entries"),
        ("max_gpu_memory", "6 GB", "max_gpu_memory: must be MiB, such as 6000, or percent of each card, such as 50%"),
        ("max_gpu_memory", "0", "max_gpu_memory: must be MiB"),
        ("port", 70_000, "port: must be at most 65,535"),
        ("latitude", 90.5, "latitude: must be at most 90"),
        ("longitude", -181, "longitude: must be at least -180"),
        ("latitude", 48.2, "longitude: latitude and longitude belong together, give both or neither"),
        ("longitude", 16.4, "longitude: latitude and longitude belong together, give both or neither"),
    ],
)
def test_limits_are_told_in_words(name: str, value: Any, words: str) -> None:
    """What may be written there, not what a validator calls it."""
    with pytest.raises(InvalidSettings, match=words):
        NodeSettings.load({name: value})


def test_coordinates_are_rounded() -> None:
    """Nothing finer than whole degrees leaves the node; 0 is a place too."""
    assert NodeSettings.load({"latitude": 48.2, "longitude": -16.6}).position == Position(48, -17)
    assert NodeSettings.load({"latitude": 0.0, "longitude": 0.0}).position == Position(0, 0)
    assert NodeSettings.load({}).position is None


def test_files_of_jobs() -> None:
    """Up to what the protocol can carry."""
    assert NodeSettings.load({}).job_input_max_bytes == 25 * 1024**2
    assert NodeSettings.load({"job_input_max_bytes": MAX_BLOB_BYTES}).job_input_max_bytes == MAX_BLOB_BYTES
    with pytest.raises(InvalidSettings, match="job_input_max_bytes: must be at most 104,857,600"):
        NodeSettings.load({"job_input_max_bytes": MAX_BLOB_BYTES + 1})


def test_listening() -> None:
    """Everywhere, on loopback where the tracker is there, or as asked."""
    assert NodeSettings.load({"bootstrap": "t.example", "port": 7}).listen_addresses == (
        "/ip4/0.0.0.0/tcp/7",
        "/ip4/0.0.0.0/udp/7/quic-v1",
    )
    assert NodeSettings.load({"bootstrap": "localhost"}).listen_addresses[0] == "/ip4/127.0.0.1/tcp/0"
    assert NodeSettings.load({"listen": ("/ip4/11.0.0.1/tcp/1",), "bootstrap": "t"}).listen_addresses == (
        "/ip4/11.0.0.1/tcp/1",
    )


def test_settings_are_frozen() -> None:
    """Parsed once, never changed."""
    settings = NodeSettings.load({"bootstrap": "http://t.example"})
    with pytest.raises(ValidationError):
        settings.port = 5
    with pytest.raises(BadTrackerAddress):
        _ = settings.tracker


def test_the_least_memory() -> None:
    """Less than a node takes without any work would never serve."""
    assert NodeSettings.load({}).memory_max_bytes == 2 * 1024**3
    with pytest.raises(InvalidSettings, match="memory_max_bytes"):
        NodeSettings.load({"memory_max_bytes": 64 * 1024**2 - 1})
