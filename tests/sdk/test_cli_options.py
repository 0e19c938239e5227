from pathlib import Path

import pytest
from gpunode.cli_options import open_client
from gpunode.errors import InvalidSettings


def test_options_become_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not given comes from the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GPUNODE_REGION", "africa")
    client = open_client(
        "http://127.0.0.1:1", None, ca_file=None, insecure=None, state_dir=tmp_path / "state", region=None
    )
    assert client._config.tracker == "http://127.0.0.1:1"
    assert client._config.region == "africa"
    client.close()
    with pytest.raises(InvalidSettings, match="insecure"):
        open_client("http://10.0.0.1", None, ca_file=None, insecure=False, state_dir=tmp_path)
