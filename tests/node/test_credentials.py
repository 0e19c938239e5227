"""Token and certificate in a file."""

import json
from pathlib import Path

from gpunode_node.credentials import Credentials, CredentialsFile
from gpunode_protocol.regions import Region
from gpunode_protocol.tracker_api import SeenPlace

from tests.node.fake_tracker import certificate


def test_round_trip(tmp_path: Path) -> None:
    """They come back, from a private file, and the token is not shown."""
    file = CredentialsFile(tmp_path / "worker.json")
    assert file.load() is None
    for region, seen in ((Region.ASIA, SeenPlace(country="JP", latitude=36, longitude=140)), (None, None)):
        credentials = Credentials("secret-token", certificate(), region, seen)
        file.save(credentials)
        assert file.load() == credentials
        assert "secret-token" not in repr(credentials)
    assert (tmp_path / "worker.json").stat().st_mode & 0o777 == 0o600


def test_a_file_of_an_older_version(tmp_path: Path) -> None:
    """It has no place in it, and is good."""
    file = CredentialsFile(tmp_path / "worker.json")
    credentials = Credentials("secret-token", certificate(), Region.ASIA)
    file.save(credentials)
    stored = json.loads((tmp_path / "worker.json").read_text())
    del stored["seen"]
    (tmp_path / "worker.json").write_text(json.dumps(stored))
    assert file.load() == credentials


def test_a_damaged_file(tmp_path: Path) -> None:
    """It counts as absent: the node registers again."""
    (tmp_path / "worker.json").write_text('{"token": "x", "region": "nowhere"}')
    assert CredentialsFile(tmp_path / "worker.json").load() is None
