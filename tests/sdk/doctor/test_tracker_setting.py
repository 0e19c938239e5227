from pathlib import Path

import pytest
from gpunode.doctor.tracker_setting import effective_tracker


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("GPUNODE_TRACKER", "GPUNODE_BOOTSTRAP", "GPUNODE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_set() -> None:
    """No tracker is no error here."""
    assert effective_tracker() == ""


def test_the_clients_tracker_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the node's."""
    (tmp_path / "gpunode.toml").write_text('[node]\nbootstrap = "of-node.example"\nport = 4001\n')
    assert effective_tracker() == "of-node.example"
    monkeypatch.setenv("GPUNODE_TRACKER", "of-client.example")
    assert effective_tracker() == "of-client.example"


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    """The checks tell what is wrong with them."""
    (tmp_path / "gpunode.toml").write_text("[client\n")
    assert effective_tracker() == ""
